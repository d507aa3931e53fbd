/** Requests to the service: with the API key, retried under overload, timed. */

import { forgetKey, key, keyFromVisitor } from "./key.js";

const MAX_ATTEMPTS = 3;
const LONGEST_PAUSE_S = 3;
const RETRIED = new Set([429, 503]);
const ROOT = new URL("../../", import.meta.url); // where the service lies, which may be below a path of a proxy

/** `call` after each successful request, `down` and `back` when the service stops and starts responding. */
export const service = new EventTarget();

let isDown = false;

/** A failed request; status 0: no response. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The response as JSON. Throws Problem. Every request may be sent twice: events carry their ids. */
export async function ask(method, path, body) {
  return (await answered(method, path, body)).json();
}

/** As `ask`, for a response in plain text. */
export async function askText(path) {
  return (await answered("GET", path)).text();
}

async function answered(method, path, body) {
  for (let attempt = 1; ; attempt++) {
    const start = performance.now();
    const response = await sent(method, path, body);
    if (response.ok) {
      noted(method, path, response, performance.now() - start);
      return response;
    }
    if (response.status === 401 && attempt < MAX_ATTEMPTS) {
      const refused = key();
      if (refused !== null) forgetKey(refused);
      await keyFromVisitor(refused !== null);
      continue;
    }
    if (!RETRIED.has(response.status) || attempt === MAX_ATTEMPTS) throw await problem(response);
    const wait = Number(response.headers.get("retry-after")) || 0.5;
    await new Promise((done) => setTimeout(done, 1000 * Math.min(wait, LONGEST_PAUSE_S)));
  }
}

async function sent(method, path, body) {
  const headers = {};
  if (key() !== null) headers.authorization = `Bearer ${key()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    const response = await fetch(new URL(path.slice(1), ROOT), { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
    // A proxy without replicas answers by itself, and not with problem details.
    if (response.status < 502 || isProblem(response)) {
      tell("back");
      return response;
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  tell("down");
  throw new Problem(0, "the service does not respond");
}

const isProblem = (response) => (response.headers.get("content-type") ?? "").startsWith("application/problem+json");

function tell(state) {
  if (isDown === (state === "down")) return;
  isDown = state === "down";
  service.dispatchEvent(new Event(state));
}

async function problem(response) {
  let detail = `${response.status} ${response.statusText}`;
  if (isProblem(response)) detail = (await response.json()).detail ?? detail;
  return new Problem(response.status, detail);
}

async function noted(method, path, response, roundTripMs) {
  const isJson = (response.headers.get("content-type") ?? "").startsWith("application/json");
  const tookMs = isJson ? (await response.clone().json()).took_ms : undefined;
  service.dispatchEvent(new CustomEvent("call", { detail: { method, path, tookMs, roundTripMs } }));
}
