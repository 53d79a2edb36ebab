// Calls of the published operations, by their names in the contract, and what goes wrong with them in plain words.
import { SignedOut, bearer, facts, refused } from "./session.js";

/** A call that did not work. `code`: the contract's word for the reason; `status` 0: the server was not reached. */
export class Failure extends Error {
  constructor(status, body, wait = 0) {
    super(words(status, body || {}, wait));
    this.status = status;
    this.code = (body && body.error) || "";
    this.details = (body && body.details) || {};
    this.wait = wait;
  }
}

function words(status, body, wait) {
  const later = wait > 0 ? ` Try again in ${wait < 90 ? `${wait} seconds` : `${Math.ceil(wait / 60)} minutes`}.` : "";
  if (status === 0) return "The server cannot be reached. Check your connection, and try again.";
  if (status === 429) return `That was too much at once.${later || " Try again in a moment."}`;
  if (status === 413) return "That is too large.";
  if (status >= 500) return `The server could not do it (${status}).${later || " Try again in a moment."}`;
  if (Array.isArray(body.details)) return body.details.map((issue) => issue.msg).join(" ") || "That cannot be taken.";
  return `${body.message || `That did not work (${status}).`}${later}`;
}

/** Address of an operation. */
export function address(name, path = {}, query = {}) {
  const url = facts.calls[name].url.replace(/\{(\w+)\}/g, (_, key) => encodeURIComponent(path[key]));
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  return asked.size ? `${url}?${asked}` : url;
}

/** The answer to an operation as it comes. Raises `Failure` for all but success, `SignedOut`, and the signal's abort. */
export async function open(name, { path, query, json, headers, signal } = {}) {
  for (let tries = 1; ; tries += 1) {
    const token = await reached(bearer(), signal);
    const sent = { Accept: "application/json", Authorization: `Bearer ${token}`, ...headers };
    if (json !== undefined) sent["Content-Type"] = "application/json";
    const answer = await reached(fetch(address(name, path, query), {
      method: facts.calls[name].method,
      headers: sent,
      body: json === undefined ? undefined : JSON.stringify(json),
      cache: "no-store",
      signal,
    }), signal);
    if (answer.ok) return answer;
    if (answer.status === 401 && tries === 1) {
      refused(token);
      continue;
    }
    if (answer.status === 401) throw new SignedOut();
    throw new Failure(answer.status, await parsed(answer), Number(answer.headers.get("Retry-After")) || 0);
  }
}

/** The JSON of the answer, null where there is none. */
export async function call(name, given = {}) {
  const answer = await open(name, given);
  return answer.status === 204 ? null : reached(answer.json(), given.signal);
}

async function reached(promise, signal) {
  try {
    return await promise;
  } catch (failed) {
    if (failed instanceof SignedOut || (signal && signal.aborted)) throw failed;
    throw new Failure(0);
  }
}

async function parsed(answer) {
  try { return await answer.json(); } catch (other) { return null; }
}

/** A key for an operation that must not be done twice; also where the page is not served over HTTPS. */
export function once() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
