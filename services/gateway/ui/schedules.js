// Functions that are called by the clock.

import { deployment, deploymentOf } from "./api.js";
import { attempt, confirm, el, field, link } from "./dom.js";

const TOPIC = "cron-function";

const isScheduled = ({ annotations }) => annotations?.topic === TOPIC && annotations.schedule;

export function schedules(app) {
    const items = el("ul", { class: "rows" });
    const empty = el("p", { class: "soft", hidden: true }, "No function has a schedule.");
    const which = el("select", { required: true });
    const when = el("input", { type: "text", required: true, placeholder: "*/5 * * * *", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
    const save = el("button", { type: "submit", class: "main" }, "Set");
    const find = (name) => app.state().functions.find((fn) => fn.name === name);
    let [shown, offered] = ["", ""];

    async function change(button, fn, schedule, done) {
        const body = deploymentOf(fn);
        body.annotations = { ...body.annotations, topic: TOPIC, schedule };
        if (!schedule) {
            delete body.annotations.topic;
            delete body.annotations.schedule;
        }
        if (await attempt(button, () => deployment.update(body), done)) await app.refresh();
    }

    function item(fn) {
        const name = fn.name;
        const edit = el("button", { type: "button", "aria-label": `Change the schedule of ${name}`, onclick: () => {
            which.value = name;
            when.value = find(name)?.annotations?.schedule ?? "";
            when.focus();
        } }, "Change");
        const remove = el("button", { type: "button", class: "danger", "aria-label": `Delete the schedule of ${name}`, onclick: async () => {
            const fn = find(name);
            if (fn && await confirm(`Delete the schedule of ${name}? The function stays.`, "Delete")) await change(remove, fn, "", `${name} has no schedule any more.`);
        } }, "Delete");
        return el("li", { class: "card row" }, el("div", { class: "row-head" },
            el("a", { class: "row-name", href: link(fn) }, name), el("code", {}, fn.annotations.schedule), el("p", { class: "buttons" }, edit, remove)));
    }

    const form = el("form", { class: "card", onsubmit: async (event) => {
        event.preventDefault();
        const fn = find(which.value);
        if (fn) await change(save, fn, when.value.trim(), `The schedule of ${fn.name} is set.`);
    } }, el("h2", {}, "Set a schedule"), field("Function", which),
    field("Schedule", when, "Minute, hour, day of the month, month, day of the week, in UTC; or @hourly, @daily, @every 90s."),
    el("p", { class: "hint" }, "The function is deployed anew with it: its replicas are replaced."),
    el("p", { class: "buttons" }, save));

    return {
        title: "Schedules",
        element: el("div", {}, el("h1", {}, "Schedules"), items, empty, form),
        update({ functions }) {
            if (!functions) return;
            const scheduled = functions.filter(isScheduled);
            const key = JSON.stringify(scheduled.map((fn) => [fn.name, fn.annotations.schedule]));
            if (key !== shown) items.replaceChildren(...scheduled.map(item));
            shown = key;
            empty.hidden = scheduled.length > 0;
            const names = JSON.stringify(functions.map((fn) => fn.name));
            if (names !== offered) {
                const chosen = which.value;
                which.replaceChildren(...functions.map((fn) => el("option", {}, fn.name)));
                if (functions.some((fn) => fn.name === chosen)) which.value = chosen;
            }
            offered = names;
        },
    };
}
