// Requests to the gateway.

// With the origin spelled out: where the password was typed into the address of
// the page, an address relative to it would hold the password too.
const at = (path) => location.origin + path;

export class Refused extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

async function ask(method, path, body, signal) {
    const options = { method, signal, cache: "no-store" };
    if (body !== undefined) {
        options.headers = { "Content-Type": "application/json" };
        options.body = JSON.stringify(body);
    }
    let answer;
    try {
        answer = await fetch(at(`/system/${path}`), options);
    } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Refused(0, "the gateway cannot be reached");
    }
    if (!answer.ok) {
        const text = (await answer.text()).trim().slice(0, 1000);
        throw new Refused(answer.status, text || `the gateway answered with status ${answer.status}`);
    }
    return answer;
}

export const get = async (path) => (await ask("GET", path)).json();
export const send = (method, path, body) => ask(method, path, body);

export const query = (values) => new URLSearchParams(values).toString();

export const deployment = {
    create: (body) => send("POST", "functions", body),
    update: (body) => send("PUT", "functions", body),
    remove: (fn) => send("DELETE", "functions", { functionName: fn.name, namespace: fn.namespace }),
    scale: (fn, replicas) => send("POST", `scale-function/${encodeURIComponent(fn.name)}?${query({ namespace: fn.namespace })}`, {
        serviceName: fn.name, namespace: fn.namespace, replicas,
    }),
};

// What would deploy a function as it is: its status has it all.
export function deploymentOf(fn) {
    const body = { service: fn.name };
    const kept = ["image", "namespace", "envProcess", "envVars", "constraints", "secrets", "labels", "annotations", "limits", "requests", "readOnlyRootFilesystem"];
    for (const key of kept) if (fn[key] !== undefined) body[key] = structuredClone(fn[key]);
    delete body.labels?.faas_function;
    return body;
}

// Hands over the lines of a log as they are written, until it is told to stop.
export async function follow(fn, tail, take, signal) {
    const wanted = query({ name: fn.name, namespace: fn.namespace, tail, follow: "true" });
    const answer = await ask("GET", `logs?${wanted}`, undefined, signal);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        take(lines.filter(Boolean).map((line) => JSON.parse(line)));
    }
}

// Calls a function as anybody would: without the password of this page, which
// is none of the function's business.
export const invoke = (fn, path, options) => fetch(at(`/function/${encodeURIComponent(`${fn.name}.${fn.namespace}`)}${path}`), {
    ...options, credentials: "omit", redirect: "manual", cache: "no-store",
});
