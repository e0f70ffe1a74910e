// Deploys functions: from an image, from what the node carries, and anew.

import { deployment, deploymentOf, get, query, send } from "./api.js";
import { attempt, check, el, field, link } from "./dom.js";

const plain = { autocomplete: "off", autocapitalize: "off", spellcheck: "false" };
const input = (properties) => el("input", { type: "text", ...plain, ...properties });
const area = (properties) => el("textarea", { rows: 2, ...plain, ...properties });

// Names with values, one a line.
function read(control, what) {
    const pairs = control.value.split("\n").filter((line) => line.trim()).map((line) => {
        const at = line.indexOf("=");
        if (at < 1) throw new Error(`${what}: "${line.trim()}" is not NAME=VALUE`);
        return [line.slice(0, at).trim(), line.slice(at + 1)];
    });
    return Object.fromEntries(pairs);
}

const write = (map) => Object.entries(map ?? {}).map(([name, value]) => `${name}=${value}`).join("\n");

// Lines hold no line ends: values that have some would be torn apart.
const foreign = (map) => Object.values(map ?? {}).some((value) => value.includes("\n"));

const ZERO = "com.openfaas.scale.zero";

// A form for a deployment: `base` is what there is of it.
function form(base, namespace, action, submit) {
    const service = input({ value: base.service ?? "", required: true, maxlength: 63, pattern: "[a-z0-9]([a-z0-9\\-]*[a-z0-9])?", disabled: Boolean(base.service), title: "a-z, 0-9 and -" });
    const image = input({ value: base.image ?? "", required: true, placeholder: "ghcr.io/openfaas/alpine:latest" });
    const process = input({ value: base.envProcess ?? "" });
    const variables = area({ value: "" });
    const labels = area();
    const annotations = area();
    const memory = input({ value: base.limits?.memory ?? "", placeholder: "128Mi" });
    const cpu = input({ value: base.limits?.cpu ?? "", placeholder: "500m" });
    const zero = el("input", { type: "checkbox", checked: base.labels?.[ZERO] === "true" });
    const readOnly = el("input", { type: "checkbox", checked: Boolean(base.readOnlyRootFilesystem) });
    const { [ZERO]: _, ...otherLabels } = base.labels ?? {};
    const maps = [[variables, "envVars", base.envVars], [labels, "labels", otherLabels], [annotations, "annotations", base.annotations]];
    for (const [control, , map] of maps) {
        control.value = write(map);
        control.disabled = foreign(map);
    }
    const secrets = el("fieldset", { hidden: true }, el("legend", {}, "Secrets"));
    const chosen = new Set(base.secrets ?? []);
    get(`secrets?${query({ namespace })}`).then((all) => {
        const names = new Set([...all.map((secret) => secret.name), ...chosen]);
        for (const name of names) {
            const box = el("input", { type: "checkbox", checked: chosen.has(name), onchange: () => (box.checked ? chosen.add(name) : chosen.delete(name)) });
            secrets.append(check(name, box));
        }
        secrets.hidden = !names.size;
    }, () => {});

    function body() {
        const made = { ...base, service: service.value.trim(), image: image.value.trim(), namespace };
        for (const [control, key] of maps) if (!control.disabled) made[key] = read(control, key);
        made.labels = { ...(made.labels ?? otherLabels), ...(zero.checked ? { [ZERO]: "true" } : {}) };
        if (labels.disabled && !zero.checked) delete made.labels[ZERO];
        made.envProcess = process.value.trim();
        made.secrets = [...chosen];
        made.readOnlyRootFilesystem = readOnly.checked;
        made.limits = { ...base.limits, memory: memory.value.trim(), cpu: cpu.value.trim() };
        if (!Object.values(made.limits).some(Boolean)) delete made.limits;
        return made;
    }

    const button = el("button", { type: "submit", class: "main" }, action);
    return el("form", { class: "card", onsubmit: async (event) => {
        event.preventDefault();
        await attempt(button, () => submit(body()));
    } },
    el("div", { class: "pair" }, field("Name", service), field("Image", image)),
    el("details", { open: Boolean(base.service) }, el("summary", {}, "More"),
        el("div", { class: "inside" },
            field("Process", process, "What the watchdog of the image runs, if not what the image says."),
            field("Environment", variables, "NAME=VALUE, one a line."),
            secrets,
            el("div", { class: "pair" }, field("Most memory", memory), field("Most CPU", cpu, "500m is half a processor.")),
            check("Scale to zero when it is not called", zero),
            check("Read-only root filesystem", readOnly),
            field("Labels", labels, "NAME=VALUE, one a line."),
            field("Annotations", annotations, "NAME=VALUE, one a line."))),
    el("p", { class: "buttons" }, button));
}

function entry(it, refresh) {
    const button = el("button", { type: "button", onclick: async () => {
        if (await attempt(button, () => send("POST", `store/${encodeURIComponent(it.name)}`), `${it.name} is deployed.`)) refresh();
    } }, "Deploy");
    const there = el("a", { href: link(it), hidden: true }, "is deployed");
    button.setAttribute("aria-label", `Deploy ${it.name}`);
    return {
        name: it.name,
        element: el("li", { class: "card row" },
            el("div", { class: "row-head" }, el("span", { class: "row-name" }, it.name), there),
            el("p", { class: "wrap" }, it.description), el("div", { class: "cut soft small mono" }, it.image), el("p", { class: "buttons" }, button)),
        set(deployed) {
            button.hidden = deployed;
            there.hidden = !deployed;
        },
    };
}

export function deploy(app) {
    const items = el("ul", { class: "rows grid" });
    const note = el("p", { class: "soft" }, "Reading the list …");
    let entries = [];
    // They belong to the default namespace.
    const update = ({ functions, nodes }) => {
        const home = nodes.at(-1)?.namespace;
        for (const it of entries) it.set(Boolean(functions?.some((fn) => fn.name === it.name && fn.namespace === home)));
    };
    get("store").then((store) => {
        entries = store.map((it) => entry(it, app.refresh));
        items.replaceChildren(...entries.map((it) => it.element));
        note.hidden = entries.length > 0;
        note.textContent = "The image of this node carries no functions.";
        update(app.state());
    }, (error) => { note.textContent = `The list cannot be read: ${error.message}`; });
    const submit = async (body) => {
        await deployment.create(body);
        await app.refresh();
        location.hash = link({ name: body.service });
    };
    return {
        title: "Deploy",
        element: el("div", {}, el("h1", {}, "Deploy"),
            el("h2", {}, "An image"), form({}, app.namespace(), "Deploy", submit),
            el("h2", {}, "What this node carries"), note, items),
        update,
    };
}

export function editor(fn, app) {
    const submit = async (body) => {
        await deployment.update(body);
        await app.refresh();
        location.hash = link(fn);
    };
    return { element: form(deploymentOf(fn), fn.namespace, "Replace", submit) };
}
