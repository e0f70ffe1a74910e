// Graphs. What they show is also there as text.

import { el, say, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 100];
// Samples that fit: new ones come in on the right.
const ROOM = 150;

function path(values, top, room) {
    let text = "";
    let open = false;
    values.forEach((value, at) => {
        if (value === null) {
            open = false;
            return;
        }
        const x = WIDTH - ((values.length - 1 - at) / (room - 1)) * WIDTH;
        const y = HEIGHT - 2 - (value / top) * (HEIGHT - 6);
        text += `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
        open = true;
    });
    return text;
}

// A round number that nothing exceeds.
function roof(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

// One line without words, for a list. It is not read out: its numbers stand
// beside it.
export function spark() {
    const [area, line] = [svg("path", { class: "area" }), svg("path", { class: "line one" })];
    const element = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("path", { class: "axis", d: `M0 ${HEIGHT - 1}H${WIDTH}` }), area, line);
    return {
        element,
        set(values) {
            const d = path(values, roof(Math.max(1, ...values)), ROOM);
            line.setAttribute("d", d);
            area.setAttribute("d", d && `${d}V${HEIGHT}H${WIDTH - ((values.length - 1) / (ROOM - 1)) * WIDTH}Z`);
        },
    };
}

// Up to two lines with a scale: `least` is what it shows at the least.
export function chart(title, names, format, least) {
    const kinds = ["one", "two"].slice(0, names.length);
    const lines = kinds.map((kind) => svg("path", { class: `line ${kind}` }));
    const legend = names.map((_, at) => el("span", { class: kinds[at] }));
    const scale = el("span", { class: "soft small" });
    const picture = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
        svg("path", { class: "axis", d: `M0 4H${WIDTH}M0 ${HEIGHT / 2 + 1}H${WIDTH}M0 ${HEIGHT - 2}H${WIDTH}` }), lines);
    const element = el("section", { class: "card" },
        el("div", { class: "chart-head" }, el("h3", {}, title), scale), picture, el("p", { class: "legend" }, legend));
    return {
        element,
        set(...series) {
            const top = roof(Math.max(least, ...series.flat().filter((value) => value !== null)));
            say(scale, `up to ${format(top)}`);
            const texts = names.map((name, at) => `${name} ${format(series[at].at(-1) ?? null)}`);
            texts.forEach((text, at) => {
                say(legend[at], text);
                lines[at].setAttribute("d", path(series[at], top, ROOM));
            });
            picture.setAttribute("aria-label", `${title}: ${texts.join(", ")}`);
        },
    };
}

// How full something is, from nothing to one.
export function meter(label) {
    const bar = svg("rect", { width: 0, height: 10 });
    const element = svg("svg", { class: "meter", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img" }, bar);
    return {
        element,
        set(share) {
            const percent = Math.round(share * 100);
            bar.setAttribute("width", percent);
            element.setAttribute("class", percent > 90 ? "meter full" : "meter");
            element.setAttribute("aria-label", `${label}: ${percent} %`);
        },
    };
}
