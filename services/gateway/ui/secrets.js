// Secrets: their names. The gateway tells no values.

import { get, query, send } from "./api.js";
import { attempt, confirm, el, field, notice } from "./dom.js";

export function secrets(app) {
    const namespace = app.namespace();
    const items = el("ul", { class: "rows" });
    const empty = el("p", { class: "soft", hidden: true }, "There are no secrets yet.");
    const plain = { autocomplete: "off", autocapitalize: "off", spellcheck: "false" };
    const name = el("input", { type: "text", required: true, ...plain });
    const value = el("textarea", { rows: 3, ...plain });
    const save = el("button", { type: "submit", class: "main" }, "Save");
    let known = new Set();

    async function load() {
        try {
            const all = await get(`secrets?${query({ namespace })}`);
            known = new Set(all.map((secret) => secret.name));
            items.replaceChildren(...all.map((secret) => item(secret.name)));
            empty.hidden = all.length > 0;
        } catch (error) {
            notice(`The secrets cannot be read: ${error.message}`, true);
        }
    }

    function item(secret) {
        const replace = el("button", { type: "button", "aria-label": `Replace ${secret}`, onclick: () => {
            name.value = secret;
            value.focus();
        } }, "Replace");
        const remove = el("button", { type: "button", class: "danger", "aria-label": `Delete ${secret}`, onclick: async () => {
            if (!await confirm(`Delete the secret ${secret}? Functions that have it keep it until they are deployed anew.`, "Delete")) return;
            if (await attempt(remove, () => send("DELETE", "secrets", { name: secret, namespace }), `${secret} is deleted.`)) load();
        } }, "Delete");
        return el("li", { class: "card row" }, el("div", { class: "row-head" }, el("span", { class: "row-name mono" }, secret), el("p", { class: "buttons" }, replace, remove)));
    }

    const form = el("form", { class: "card", onsubmit: async (event) => {
        event.preventDefault();
        const secret = name.value.trim();
        const replaced = known.has(secret);
        if (replaced && !await confirm(`Give the secret ${secret} another value?`, "Replace")) return;
        const body = { name: secret, namespace, value: value.value };
        if (await attempt(save, () => send(replaced ? "PUT" : "POST", "secrets", body), `${secret} is ${replaced ? "replaced" : "kept"}.`)) {
            form.reset();
            load();
        }
    } }, el("h2", {}, "Create or replace"), field("Name", name),
    field("Value", value, "Kept to the letter. It is never shown again; functions read it from /var/openfaas/secrets/NAME."),
    el("p", { class: "buttons" }, save));
    load();
    return { title: "Secrets", element: el("div", {}, el("h1", {}, "Secrets"), items, empty, form) };
}
