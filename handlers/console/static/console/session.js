// The short-lived access token: in this page's memory alone, made anew from the refresh cookie, which no script can read.
import { kept, pause } from "./dom.js";

export const facts = JSON.parse(document.getElementById("facts").textContent);

/** The cookie is gone or ended: only signing in helps. */
export class SignedOut extends Error {}

const EARLY = 30000; // milliseconds: a token that ends within them is not sent any more
const TRADING = "thalweg-trading";
const LANDS = 2000; // milliseconds within which the answer to a call of a page that is gone has set its cookie

let access = null;
let until = 0;
let trading = null;

/** A token to call with. Raises `SignedOut`, or a `TypeError` where the server is not reached. */
export async function bearer() {
  return access && Date.now() < until - EARLY ? access : renew();
}

/** The server refused this token: the next call makes another. */
export function refused(token) {
  if (token === access) access = null;
}

export function forget() {
  access = null;
  kept.set("thalweg-signed-in", null);
}

function renew() {
  trading ??= exclusively(trade).finally(() => { trading = null; });
  return trading;
}

// A refresh token is traded once; the second time it counts as stolen and the session ends. So: one window at a time ...
function exclusively(act) {
  return navigator.locks ? navigator.locks.request("thalweg-refresh-thallus", act) : act();
}

// ... and a page that was closed or reloaded in the middle of it has left its trade to the browser (`keepalive`), whose
// cookie has to land before the next one begins.
async function trade() {
  const left = Number(kept.get(TRADING, window.localStorage)) + LANDS - Date.now();
  if (left > 0 && left <= LANDS) await pause(left);
  const where = facts.calls.refreshToken;
  kept.set(TRADING, String(Date.now()), window.localStorage);
  let answer;
  let body;
  try {
    answer = await fetch(where.url, { method: where.method, headers: { Accept: "application/json" }, cache: "no-store", keepalive: true });
    body = await answer.json();
  } finally {
    kept.set(TRADING, null, window.localStorage);
  }
  if (answer.status === 401 || answer.status === 403) {
    access = null;
    throw new SignedOut((body && body.message) || "");
  }
  if (!answer.ok) throw new TypeError(`The server answered ${answer.status}.`);
  access = body.access_token;
  until = Date.now() + body.expires_in * 1000;
  return access;
}
