// The node itself.

import { chart, meter } from "./chart.js";
import { bytes, el, facts, period, say } from "./dom.js";

const percent = (value) => (value === null ? "–" : `${Math.round(value)} %`);
const degrees = (value) => (value === null ? "–" : `${value.toFixed(0)} °C`);
const load = (value) => (value === null ? "–" : value.toFixed(2));

function filled(title) {
    const text = el("p", {});
    const bar = meter(title);
    return {
        element: el("section", { class: "card" }, el("h2", {}, title), text, bar.element),
        set(it) {
            if (!it) return say(text, "Not known.");
            const used = it.total - it.available;
            say(text, `${bytes(used)} of ${bytes(it.total)} used, ${bytes(it.available)} free`);
            bar.set(it.total ? used / it.total : 0);
        },
    };
}

export function node() {
    const about = facts(["Name", "Up for", "Cores", "Load", "Temperature", "Engine", "Gateway"], "facts big");
    const [memory, disk] = [filled("Memory"), filled("Disk")];
    const graphs = [
        chart("Memory in use", ["used"], percent, 100),
        chart("Load", ["over one minute"], load, 1),
        chart("Temperature", ["processor"], degrees, 100),
    ];
    return {
        title: "Node",
        element: el("div", {}, el("h1", {}, "Node"), el("div", { class: "card" }, about.element),
            el("div", { class: "grid" }, memory.element, disk.element),
            el("div", { class: "grid" }, graphs.map((it) => it.element)),
            el("p", { class: "soft small" }, "The graphs begin when this page was opened, and go back five minutes.")),
        update({ nodes }) {
            const it = nodes.at(-1);
            if (!it) return;
            const engine = it.engine ? `${it.engine.name} ${it.engine.version}` : "not there";
            about.set(it.name ?? "–", it.uptime === null ? "–" : period(it.uptime),
                `${it.processors}`, load(it.load?.[0] ?? null), degrees(it.temperature), engine, it.gateway);
            memory.set(it.memory);
            disk.set(it.disk);
            graphs[0].set(nodes.map(({ memory }) => (memory ? (1 - memory.available / memory.total) * 100 : null)));
            graphs[1].set(nodes.map(({ load }) => load?.[0] ?? null));
            graphs[2].element.hidden = it.temperature === null;
            graphs[2].set(nodes.map(({ temperature }) => temperature));
        },
    };
}
