// Asynchronous calls: those that wait, and those that were given up.

import { send } from "./api.js";
import { attempt, bytes, confirm, el, facts } from "./dom.js";

export function queue(app) {
    const numbers = facts(["Waiting", "Under way", "Callbacks", "On disk"], "facts big");
    const body = el("tbody");
    const loads = el("div", { class: "card table", hidden: true }, el("table", {}, el("thead", {}, el("tr", {},
        ["Function", "Waiting", "Under way"].map((name) => el("th", { scope: "col" }, name)))), body));
    const letters = el("ul", { class: "rows" });
    const none = el("p", { class: "soft" }, "There are none.");
    let shown = "";

    function letter(it) {
        const path = `queue/dead/${encodeURIComponent(it.id)}`;
        const replay = el("button", { type: "button", "aria-label": `Call ${it.function} again, ${it.id}`, onclick: async () => {
            if (await attempt(replay, () => send("POST", path), `${it.function} is called again.`)) app.refresh();
        } }, "Call again");
        const remove = el("button", { type: "button", class: "danger", "aria-label": `Delete the call of ${it.function}, ${it.id}`, onclick: async () => {
            if (!await confirm(`Delete this call of ${it.function}?`, "Delete")) return;
            if (await attempt(remove, () => send("DELETE", path), "It is deleted.")) app.refresh();
        } }, "Delete");
        return el("li", { class: "card row" },
            el("div", { class: "row-head" }, el("span", { class: "row-name" }, it.function), el("span", { class: "soft small" }, new Date(it.time).toLocaleString())),
            el("p", { class: "wrap" }, it.reason), el("p", { class: "soft small wrap" }, `${it.attempts} attempts, call `, el("code", {}, it.id)),
            el("p", { class: "buttons" }, replay, remove));
    }

    return {
        title: "Queue",
        element: el("div", {}, el("h1", {}, "Queue"), el("div", { class: "card" }, numbers.element), loads, el("h2", {}, "Calls that were given up"), letters, none),
        update({ queue: it }) {
            if (!it) return;
            numbers.set(`${it.depth}`, `${it.inflight}`, `${it.callbacks}`, bytes(it.bytes));
            loads.hidden = !it.functions.length;
            body.replaceChildren(...it.functions.map((fn) => el("tr", {}, el("th", { scope: "row" }, fn.name), el("td", {}, `${fn.depth}`), el("td", {}, `${fn.inflight}`))));
            const key = JSON.stringify(it.dead);
            if (key !== shown) letters.replaceChildren(...it.dead.map(letter));
            shown = key;
            none.hidden = it.dead.length > 0;
        },
    };
}
