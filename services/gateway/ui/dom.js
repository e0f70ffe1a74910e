// Makes elements, and tells people what happened. Whatever comes from functions
// or people goes into the page as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
    for (const [name, value] of Object.entries(properties)) {
        if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else if (value === true) element.setAttribute(name, "");
        else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
}

export const el = (tag, properties = {}, ...children) => fill(document.createElement(tag), properties, children);

export const svg = (tag, properties = {}, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

// Changes a text only when it is another: a selection survives.
export function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

// Names with values: `set` changes the values, in their order.
export function facts(names, kind = "facts") {
    const values = names.map(() => el("dd"));
    const element = el("dl", { class: kind }, names.map((name, at) => el("div", {}, el("dt", {}, name), values[at])));
    return { element, set: (...texts) => texts.forEach((text, at) => say(values[at], text)) };
}

// Where the page of a function is.
export const link = (fn, tab) => `#functions/${encodeURIComponent(fn.name)}${tab ? `/${tab}` : ""}`;

let fields = 0;

// A labelled control. The hint is read out with it.
export function field(label, control, hint) {
    control.id = `field-${++fields}`;
    const parts = [el("label", { for: control.id }, label), control];
    if (hint) {
        const id = `${control.id}-hint`;
        control.setAttribute("aria-describedby", id);
        parts.push(el("span", { class: "hint", id }, hint));
    }
    return el("div", { class: "field" }, parts);
}

export const check = (label, control) => el("label", { class: "check" }, control, el("span", {}, label));

// Says what happened, where it does not cover what one works on.
export function notice(text, wrong = false) {
    const element = el("div", { class: wrong ? "notice wrong" : "notice" }, el("span", {}, text));
    const close = el("button", { type: "button", "aria-label": "Close this message", onclick: () => element.remove() }, "×");
    element.append(close);
    document.getElementById("notices").append(element);
    // What went wrong stays until it is read.
    if (!wrong) setTimeout(() => element.remove(), 5000);
}

// Does something that may fail, with its button out of use meanwhile.
export async function attempt(button, work, done) {
    button.disabled = true;
    try {
        await work();
        if (done) notice(done);
        return true;
    } catch (error) {
        notice(error.message, true);
        return false;
    } finally {
        button.disabled = false;
    }
}

// Asks before what cannot be undone.
export function confirm(question, action) {
    const dialog = document.getElementById("confirm");
    const [yes, no] = [document.getElementById("confirm-yes"), document.getElementById("confirm-no")];
    say(document.getElementById("confirm-question"), question);
    say(yes, action);
    dialog.showModal();
    no.focus();
    return new Promise((resolve) => {
        let answer = false;
        yes.onclick = () => { answer = true; dialog.close(); };
        no.onclick = () => dialog.close();
        dialog.onclose = () => resolve(answer);
    });
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
    let unit = 0;
    for (; count >= 1024 && unit < UNITS.length - 1; unit++) count /= 1024;
    return `${unit && count < 10 ? count.toFixed(1) : Math.round(count)} ${UNITS[unit]}`;
}

export function seconds(value) {
    if (value === null) return "–";
    return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(value < 10 ? 1 : 0)} s`;
}

export const perSecond = (value) => (value === null ? "–" : `${value.toFixed(value && value < 10 ? 1 : 0)} /s`);

export function period(total) {
    const [days, hours, minutes] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60];
    return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : `${minutes} min`;
}
