// What is shown, and asks the gateway again and again while the page is seen.

import { get, query } from "./api.js";
import { deploy } from "./deploy.js";
import { el, say } from "./dom.js";
import { detail, list } from "./functions.js";
import { node } from "./node.js";
import { queue } from "./queue.js";
import { schedules } from "./schedules.js";
import { secrets } from "./secrets.js";
import { sample } from "./stats.js";

const PAUSE = 2000;
// Samples of the node: five minutes.
const NODES = 150;

const main = document.getElementById("main");
const away = document.getElementById("away");
const chooser = document.getElementById("namespace");
const namespaces = chooser.querySelector("select");

const state = { functions: null, nodes: [], queue: null, hasQueue: true };
let view = null;

const app = {
    state: () => state,
    namespace: () => namespaces.value,
    refresh: () => refresh(),
};

const PAGES = { deploy, schedules, secrets, queue, node };

// A part of an address, which somebody may have typed.
function decode(part) {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}

function open() {
    const [page, name, tab] = location.hash.slice(1).split("/").map(decode);
    view?.stop?.();
    view = name && page === "functions" ? detail(name, tab, app) : (PAGES[page] ?? list)(app);
    main.replaceChildren(view.element);
    document.title = `${view.title} – ${state.nodes.at(-1)?.name ?? "Rubus"}`;
    for (const link of document.querySelectorAll("#nav a")) {
        const here = link.hash.slice(1) === (page in PAGES ? page : "functions");
        if (here) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
    }
    view.update?.(state);
}

async function askQueue() {
    if (!state.hasQueue) return;
    try {
        state.queue = await get("queue");
    } catch (error) {
        // A gateway without a queue stays without.
        if (error.status !== 404) throw error;
        state.hasQueue = false;
    }
    document.getElementById("nav-queue").hidden = !state.hasQueue;
}

async function askNode() {
    state.nodes.push(await get("node"));
    if (state.nodes.length > NODES) state.nodes.shift();
    const { name } = state.nodes.at(-1);
    if (name) say(document.getElementById("node-name"), name);
}

async function askFunctions() {
    const namespace = app.namespace();
    const functions = await get(`functions?${query({ namespace })}`);
    if (namespace === app.namespace()) state.functions = functions;
}

async function refresh() {
    const results = await Promise.allSettled([sample(), askFunctions(), askNode(), askQueue()]);
    const failed = results.find((result) => result.status === "rejected");
    // It is read out once, not every two seconds.
    away.hidden = !failed;
    say(away, failed ? `What is shown may be old: ${failed.reason.message}.` : "");
    view?.update?.(state);
}

async function begin() {
    for (;;) {
        try {
            const [all] = await Promise.all([get("namespaces"), askNode()]);
            const home = state.nodes.at(-1).namespace;
            namespaces.replaceChildren(...all.map((name) => el("option", { selected: name === home }, name)));
            chooser.hidden = all.length < 2;
            break;
        } catch (error) {
            away.hidden = false;
            say(away, `The gateway cannot be asked: ${error.message}.`);
            await new Promise((resolve) => setTimeout(resolve, PAUSE));
        }
    }
    namespaces.addEventListener("change", () => {
        state.functions = null;
        open();
        refresh();
    });
    document.getElementById("skip").addEventListener("click", (event) => {
        event.preventDefault();
        main.focus();
    });
    window.addEventListener("hashchange", () => {
        open();
        main.focus();
        window.scrollTo(0, 0);
    });
    open();
    for (;;) {
        // Nobody looks: the node has better things to do.
        if (!document.hidden) await refresh();
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
}

begin();
