// The list of functions, and the page of one of them.

import { deployment } from "./api.js";
import { chart, spark } from "./chart.js";
import { editor } from "./deploy.js";
import { attempt, confirm, el, facts, field, link, perSecond, say, seconds } from "./dom.js";
import { invocation } from "./invoke.js";
import { logs } from "./logs.js";
import { current, history } from "./stats.js";

// State in a word, which the colour repeats.
function state(fn) {
    const [wanted, there] = [fn.replicas ?? 0, fn.availableReplicas ?? 0];
    if (!wanted) return ["at zero", "zero"];
    return there < wanted ? ["starting", "starting"] : ["ready", "ready"];
}

function badge() {
    const element = el("span", { class: "state" });
    return {
        element,
        set(fn) {
            const [text, kind] = state(fn);
            say(element, text);
            element.className = `state ${kind}`;
        },
    };
}

const replicas = (fn) => `${fn.availableReplicas ?? 0} of ${fn.replicas ?? 0}`;
const errors = (now) => (now.rate === null ? "–" : `${(now.share * 100).toFixed(now.share && now.share < 0.1 ? 1 : 0)} %`);

function row(fn) {
    const mark = badge();
    const image = el("div", { class: "cut soft small mono" });
    const numbers = facts(["Replicas", "Rate", "Errors", "Latency", "Calls"]);
    const graph = spark();
    const element = el("li", { class: "card row" },
        el("div", { class: "row-head" }, el("a", { class: "row-name", href: link(fn) }, fn.name), mark.element),
        image, numbers.element, graph.element);
    return {
        element,
        update(fn) {
            const now = current(fn);
            mark.set(fn);
            say(image, fn.image);
            numbers.set(replicas(fn), perSecond(now.rate), errors(now), seconds(now.slow), `${fn.invocationCount ?? 0}`);
            graph.set(history(fn).map((it) => it.rate));
        },
    };
}

export function list() {
    const rows = new Map();
    const items = el("ul", { class: "rows grid" });
    const empty = el("p", { hidden: true }, "There are no functions yet. ", el("a", { href: "#deploy" }, "Deploy one."));
    const note = el("p", { class: "soft small" }, "Rate, errors and latency (95 of 100 calls are faster) are those of the last ten seconds. Errors are answers with a status of 500 and above.");
    return {
        title: "Functions",
        element: el("div", {}, el("h1", {}, "Functions"), items, empty, note),
        update({ functions }) {
            if (!functions) return;
            const names = new Set(functions.map((fn) => fn.name));
            for (const [name, it] of rows) {
                if (names.has(name)) continue;
                it.element.remove();
                rows.delete(name);
            }
            functions.forEach((fn, at) => {
                if (!rows.has(fn.name)) {
                    const made = row(fn);
                    rows.set(fn.name, made);
                    items.insertBefore(made.element, items.children[at] ?? null);
                }
                rows.get(fn.name).update(fn);
            });
            empty.hidden = functions.length > 0;
            note.hidden = !empty.hidden;
        },
    };
}

function overview(fn) {
    const graphs = [
        chart("Calls", ["begun", "errors"], perSecond, 1),
        chart("Latency", ["median", "95th percentile"], seconds, 0.01),
        chart("Under way", ["calls"], (value) => `${value ?? 0}`, 1),
    ];
    const scale = el("input", { type: "number", min: 0, max: 100, value: fn.replicas ?? 0, required: true, inputmode: "numeric" });
    const set = el("button", { type: "submit" }, "Scale");
    const form = el("form", { class: "card", onsubmit: (event) => {
        event.preventDefault();
        const count = Number(scale.value);
        attempt(set, () => deployment.scale(fn, count), `${fn.name} is to have ${count} replicas.`);
    } }, el("h2", {}, "Scale"), field("Replicas", scale, "The least from now on; with more to do there are more. Zero: it starts again when it is called, if the gateway starts functions from zero."), el("p", { class: "buttons" }, set));
    const about = el("dl", { class: "pairs" });
    let shown = "";
    const remove = el("button", { type: "button", class: "danger", onclick: async () => {
        if (!await confirm(`Delete the function ${fn.name}?`, "Delete")) return;
        if (await attempt(remove, () => deployment.remove(fn), `${fn.name} is deleted.`)) location.hash = "#functions";
    } }, "Delete this function");
    return {
        element: el("div", {},
            el("div", { class: "grid" }, graphs.map((it) => it.element)),
            el("p", { class: "soft small" }, "The graphs begin when this page was opened, and go back five minutes."),
            el("div", { class: "grid" }, el("section", { class: "card" }, el("h2", {}, "Deployment"), about), form),
            el("p", {}, remove)),
        update(fn) {
            const past = history(fn);
            const all = (key) => past.map((it) => it[key]);
            graphs[0].set(all("rate"), all("errors"));
            graphs[1].set(all("median"), all("slow"));
            graphs[2].set(all("inFlight"));
            const told = pairs(fn);
            if (JSON.stringify(told) === shown) return;
            shown = JSON.stringify(told);
            about.replaceChildren(...told.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
        },
    };
}

function pairs(fn) {
    const map = (values) => Object.entries(values ?? {}).map(([key, value]) => `${key}=${value}`).join(", ");
    const resources = (it) => (it ? [it.memory && `memory ${it.memory}`, it.cpu && `cpu ${it.cpu}`].filter(Boolean).join(", ") : "");
    return [
        ["Image", fn.image],
        ["Process", fn.envProcess],
        ["Address", `${location.origin}/function/${fn.name}.${fn.namespace}`],
        ["Deployed", fn.createdAt && new Date(fn.createdAt).toLocaleString()],
        ["Environment", map(fn.envVars)],
        ["Secrets", fn.secrets?.join(", ")],
        ["Limits", resources(fn.limits)],
        ["Requests", resources(fn.requests)],
        ["Constraints", fn.constraints?.join(", ")],
        ["Labels", map(fn.labels)],
        ["Annotations", map(fn.annotations)],
        ["Root filesystem", fn.readOnlyRootFilesystem ? "read-only" : ""],
    ].filter(([, text]) => text);
}

const TABS = [["", "Overview", overview], ["invoke", "Invoke", invocation], ["logs", "Logs", logs], ["edit", "Change", editor]];

export function detail(name, tab, app) {
    const mark = badge();
    const numbers = facts(["Replicas", "Rate", "Errors", "Latency", "Calls"], "facts big");
    const body = el("div", {}, el("p", { class: "soft" }, "Looking for it …"));
    const tabs = el("ul", { class: "tabs" }, TABS.map(([key, title]) => el("li", {},
        el("a", { href: link({ name }, key), "aria-current": key === (tab ?? "") ? "page" : undefined }, title))));
    const [, title, make] = TABS.find(([key]) => key === (tab ?? "")) ?? TABS[0];
    let inner = null;
    const update = (all) => {
        if (!all.functions) return;
        const fn = all.functions.find((it) => it.name === name);
        if (!fn) {
            if (!inner) body.replaceChildren(el("p", {}, "There is no such function in this namespace."));
            return;
        }
        if (!inner) {
            inner = make(fn, app);
            body.replaceChildren(inner.element);
        }
        const now = current(fn);
        mark.set(fn);
        numbers.set(replicas(fn), perSecond(now.rate), errors(now), seconds(now.slow), `${fn.invocationCount ?? 0}`);
        inner.update?.(fn, all);
    };
    return {
        title: `${name}: ${title}`,
        element: el("div", {},
            el("div", { class: "row-head" }, el("h1", {}, name), mark.element),
            el("div", { class: "card" }, numbers.element),
            el("nav", { "aria-label": `Pages of ${name}` }, tabs), body),
        update,
        stop: () => inner?.stop?.(),
    };
}
