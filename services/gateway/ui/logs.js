// The log of a function, followed.

import { follow } from "./api.js";
import { el, say } from "./dom.js";

// Most lines that are kept on the page.
const KEPT = 1000;

export function logs(fn) {
    const box = el("pre", { class: "log", tabindex: 0, role: "log", "aria-live": "off", "aria-label": `Log of ${fn.name}` });
    const status = el("span", { class: "soft small", role: "status" });
    const filter = el("input", { type: "search", placeholder: "Show lines with …", "aria-label": "Show lines with", oninput: () => sift() });
    const pause = el("button", { type: "button", "aria-pressed": "false", onclick: () => {
        const paused = pause.getAttribute("aria-pressed") !== "true";
        pause.setAttribute("aria-pressed", paused);
        if (paused) end();
        else begin();
    } }, "Pause");
    const clear = el("button", { type: "button", onclick: () => box.replaceChildren() }, "Clear");
    let control = null;

    const fits = (line) => line.textContent.toLowerCase().includes(filter.value.toLowerCase());
    const sift = () => { for (const line of box.children) line.hidden = !fits(line); };

    function take(lines) {
        const low = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
        for (const it of lines.slice(-KEPT)) {
            const line = el("div", {}, el("time", { datetime: it.timestamp, title: it.instance }, time(it.timestamp)), ` ${it.text}`);
            line.hidden = !fits(line);
            box.append(line);
        }
        while (box.children.length > KEPT) box.firstChild.remove();
        if (low) box.scrollTop = box.scrollHeight;
    }

    async function begin() {
        control = new AbortController();
        const { signal } = control;
        box.replaceChildren();
        for (;;) {
            say(status, "Following.");
            try {
                await follow(fn, 200, take, signal);
                say(status, "The log has ended. It is asked for again in a moment.");
            } catch (error) {
                if (signal.aborted) break;
                say(status, `There is no log: ${error.message}. It is asked for again in a moment.`);
            }
            await new Promise((resolve) => setTimeout(resolve, 3000));
            if (signal.aborted) break;
            box.replaceChildren();
        }
    }

    function end() {
        control?.abort();
        say(status, "Paused.");
    }

    begin();
    return {
        element: el("div", {}, el("div", { class: "pair" }, filter, el("p", { class: "buttons" }, pause, clear, status)), box),
        stop: end,
    };
}

function time(text) {
    const date = new Date(text);
    return Number.isNaN(date.valueOf()) ? text : date.toLocaleTimeString();
}
