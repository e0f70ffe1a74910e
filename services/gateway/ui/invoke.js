// Calls a function and shows what it answers.

import { invoke } from "./api.js";
import { attempt, bytes, el, field, seconds } from "./dom.js";

// Most of an answer that is read, and most of it that is shown.
const READ = 8 << 20;
const SHOWN = 256 << 10;

const select = (...options) => el("select", {}, options.map(([value, text]) => el("option", { value }, text ?? value)));

// Headers, one a line.
function headersOf(text) {
    return text.split("\n").filter((line) => line.trim()).map((line) => {
        const colon = line.indexOf(":");
        if (colon < 1) throw new Error(`headers: "${line.trim()}" has no name with a colon`);
        return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    });
}

// Text, unless it is something else.
function textOf(data) {
    try {
        return new TextDecoder("utf-8", { fatal: true }).decode(data, { stream: true });
    } catch {
        return null;
    }
}

// As much of a body as there is, or as is read of it.
async function read(answer, progress, stop) {
    const reader = answer.body?.getReader();
    const parts = [];
    let size = 0;
    let whole = true;
    while (reader) {
        try {
            const { value, done } = await reader.read();
            if (done) break;
            parts.push(value);
            size += value.length;
            progress(parts, size);
        } catch (error) {
            if (!stop.aborted) throw error;
            whole = false;
            break;
        }
        if (size > READ) {
            whole = false;
            await reader.cancel();
            break;
        }
    }
    return { data: new Blob(parts, { type: "application/octet-stream" }), size, whole };
}

export function invocation(fn) {
    const method = select(["POST"], ["GET"], ["PUT"], ["PATCH"], ["DELETE"], ["HEAD"]);
    const path = el("input", { type: "text", placeholder: "/path?query", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
    const kind = select(["text/plain", "Text"], ["application/json", "JSON"], ["file", "A file"]);
    const text = el("textarea", { spellcheck: "false", autocapitalize: "off", rows: 5 });
    const file = el("input", { type: "file" });
    const headers = el("textarea", { spellcheck: "false", autocapitalize: "off", rows: 2, placeholder: "Authorization: Bearer …" });
    const textField = field("Body", text);
    const fileField = field("File", file);
    fileField.hidden = true;
    const adapt = () => {
        const bare = method.value === "GET" || method.value === "HEAD";
        kind.disabled = bare;
        textField.hidden = bare || kind.value === "file";
        fileField.hidden = bare || kind.value !== "file";
    };
    kind.addEventListener("change", adapt);
    method.addEventListener("change", adapt);

    const result = el("section", { class: "card", hidden: true, "aria-label": "Answer" });
    const status = el("p", { role: "status" });
    let running = null;
    const call = el("button", { type: "submit", class: "main" }, "Invoke");
    const stop = el("button", { type: "button", hidden: true, onclick: () => running?.abort() }, "Stop");

    function request() {
        const options = { method: method.value, headers: headersOf(headers.value) };
        if (kind.disabled) return options;
        const named = options.headers.some(([name]) => name.toLowerCase() === "content-type");
        if (kind.value === "file") {
            if (!file.files.length) throw new Error("choose a file first");
            options.body = file.files[0];
            if (!named) options.headers.push(["Content-Type", options.body.type || "application/octet-stream"]);
            return options;
        }
        options.body = text.value;
        if (kind.value === "application/json") {
            try {
                JSON.parse(text.value);
            } catch (error) {
                throw new Error(`the body is not JSON: ${error.message}`);
            }
        }
        if (!named) options.headers.push(["Content-Type", kind.value]);
        return options;
    }

    async function run() {
        const rest = path.value.trim();
        const target = !rest || rest.startsWith("/") || rest.startsWith("?") ? rest : `/${rest}`;
        const options = request();
        running = new AbortController();
        stop.hidden = false;
        const [body, save] = [el("pre", { tabindex: 0, "aria-label": "Body of the answer" }), el("p", {})];
        result.hidden = false;
        status.textContent = "Waiting for the answer …";
        result.replaceChildren(el("h2", {}, "Answer"), status);
        const start = performance.now();
        const took = () => seconds((performance.now() - start) / 1000);
        try {
            const answer = await invoke(fn, target, { ...options, signal: running.signal });
            if (answer.type === "opaqueredirect") {
                status.textContent = `It sends its caller elsewhere, after ${took()}. A page cannot see where to.`;
                return;
            }
            const head = `Status ${answer.status} ${answer.statusText}`.trim();
            status.textContent = `${head}, ${took()} to the first byte …`;
            const list = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
            result.append(el("details", {}, el("summary", {}, "Headers"), el("pre", { tabindex: 0, "aria-label": "Headers of the answer" }, list)), body, save);
            let shown = 0;
            const show = (parts, size) => {
                if (shown > SHOWN) return;
                shown = size;
                const data = new Uint8Array(size);
                let at = 0;
                for (const part of parts) {
                    data.set(part, at);
                    at += part.length;
                }
                body.textContent = textOf(data.subarray(0, SHOWN)) ?? "This is not text.";
            };
            const { data, size, whole } = await read(answer, show, running.signal);
            status.textContent = `${head}, ${took()}, ${bytes(size)}${whole ? "" : ", not all of it"}`;
            body.hidden = !size;
            if (size) {
                const href = URL.createObjectURL(data);
                addresses.push(href);
                save.append(el("a", { href, download: `${fn.name}-answer` }, "Save the body"), size > SHOWN ? ` (the first ${bytes(SHOWN)} are shown)` : "");
            }
        } catch (error) {
            status.textContent = running.signal.aborted ? "Stopped." : `No answer after ${took()}: the gateway cannot be reached, or the answer broke off.`;
            if (!running.signal.aborted) console.warn(error);
        } finally {
            stop.hidden = true;
        }
    }

    const addresses = [];
    const form = el("form", { class: "card", onsubmit: (event) => {
        event.preventDefault();
        attempt(call, run);
    } },
    el("div", { class: "pair" }, field("Method", method), field("Path and query", path), field("Body as", kind)),
    textField, fileField,
    el("details", {}, el("summary", {}, "Headers"), el("div", { class: "inside" }, field("Headers", headers, "One a line. The password of this page is not sent to functions."))),
    el("p", { class: "buttons" }, call, stop));
    return {
        element: el("div", {}, form, result),
        stop: () => {
            running?.abort();
            addresses.forEach((address) => URL.revokeObjectURL(address));
        },
    };
}
