// What the numbers of the gateway mean over time. They only grow, so rates are
// differences of two samples.

import { get } from "./api.js";

// Samples that are kept: five minutes at one every two seconds.
const KEPT = 150;
// Samples that a rate looks back on: ten seconds.
const WINDOW = 5;

let samples = [];

export async function sample() {
    const stats = await get("stats");
    const functions = new Map(stats.functions.map((fn) => [`${fn.name}.${fn.namespace}`, fn]));
    const last = samples.at(-1);
    // The gateway began anew, and its numbers with it.
    if (last && stats.seconds < last.seconds) samples = [];
    samples.push({ seconds: stats.seconds, bounds: stats.buckets, functions });
    if (samples.length > KEPT) samples.shift();
}

const count = (answers) => Object.values(answers).reduce((sum, number) => sum + number, 0);

// The time that a share of the calls did not exceed, from how many did not
// exceed each bound; within a bucket they count as spread evenly. Beyond the
// last bound nothing is known but that.
export function quantile(share, bounds, below, total) {
    if (!total) return null;
    const rank = share * total;
    const at = below.findIndex((number) => number >= rank);
    if (at < 0) return bounds.at(-1);
    const [low, before] = at ? [bounds[at - 1], below[at - 1]] : [0, 0];
    const inside = below[at] - before;
    return inside ? low + (bounds[at] - low) * ((rank - before) / inside) : bounds[at];
}

const NONE = { begun: 0, inFlight: 0, answers: {}, buckets: [] };

function between(from, to, key) {
    const now = to.functions.get(key);
    if (!now) return { rate: 0, errors: 0, share: 0, median: null, slow: null, inFlight: 0 };
    const then = from.functions.get(key) ?? NONE;
    const time = to.seconds - from.seconds;
    const ended = count(now.answers) - count(then.answers);
    const failed = (now.answers["5xx"] ?? 0) - (then.answers["5xx"] ?? 0);
    const below = now.buckets.map((number, at) => number - (then.buckets[at] ?? 0));
    return {
        rate: (now.begun - then.begun) / time,
        errors: failed / time,
        share: ended ? failed / ended : 0,
        median: quantile(0.5, to.bounds, below, ended),
        slow: quantile(0.95, to.bounds, below, ended),
        inFlight: now.inFlight,
    };
}

// How a function did, once a sample.
export function history(fn) {
    const key = `${fn.name}.${fn.namespace}`;
    return samples.slice(1).map((to, at) => between(samples[Math.max(0, at + 1 - WINDOW)], to, key));
}

// How it does now; nothing is known of rates before the second sample.
export const current = (fn) => history(fn).at(-1) ?? { rate: null, errors: null, share: 0, median: null, slow: null, inFlight: 0 };
