// Solves the challenge of /captcha/challenge (ALTCHA, version 2): find a counter whose key begins as asked.
(function () {
  "use strict";
  const AGES = 8 * 60 * 1000; // a challenge is good for ten minutes
  let kept = null;

  function bytes(hex) {
    return Uint8Array.from(hex.match(/../g) || [], (pair) => parseInt(pair, 16));
  }

  function hex(buffer) {
    return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async function derive(terms, counter) {
    const nonce = bytes(terms.nonce);
    const secret = new Uint8Array(nonce.length + 4);
    secret.set(nonce);
    new DataView(secret.buffer).setUint32(nonce.length, counter);
    const key = await crypto.subtle.importKey("raw", secret, "PBKDF2", false, ["deriveBits"]);
    const how = { name: "PBKDF2", hash: "SHA-256", salt: bytes(terms.salt), iterations: terms.cost };
    return hex(await crypto.subtle.deriveBits(how, key, terms.keyLength * 8));
  }

  async function solve(challenge) {
    const terms = challenge.parameters;
    if (terms.algorithm !== "PBKDF2/SHA-256") throw new Error("This page does not know how to solve the CAPTCHA.");
    if (!window.isSecureContext) throw new Error("Open this page by https (or as localhost): browsers compute nothing secret elsewhere.");
    let next = 0;
    let found = null;
    async function lane() {
      while (found === null) {
        const counter = next++;
        const derivedKey = await derive(terms, counter);
        if (found === null && derivedKey.startsWith(terms.keyPrefix)) found = { counter, derivedKey };
      }
    }
    const lanes = Math.min(navigator.hardwareConcurrency || 2, 4);
    await Promise.all(Array.from({ length: lanes }, lane));
    return btoa(JSON.stringify({ challenge, solution: found }));
  }

  async function fresh() {
    const answer = await fetch("/captcha/challenge", { cache: "no-store" });
    if (!answer.ok) throw new Error("The CAPTCHA cannot be had right now. Try again.");
    const challenge = await answer.json();
    if (challenge.provider === "off") return "off";
    if (challenge.provider) throw new Error("This server asks for a CAPTCHA of “" + challenge.provider + "”, which these pages do not load. Use the application’s own page.");
    return solve(challenge);
  }

  // A solution, worked out once and good for one success: call `spent` then.
  window.thalwegCaptcha = {
    solution() {
      if (kept === null || Date.now() - kept.since > AGES) {
        const made = { since: Date.now(), solution: fresh() };
        made.solution.catch(() => { if (kept === made) kept = null; });
        kept = made;
      }
      return kept.solution;
    },
    spent() { kept = null; },
  };
})();
