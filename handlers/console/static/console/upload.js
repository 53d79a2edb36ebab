// Files on their way to the server: some at once, the others in a row, each with its progress and what became of it.
import { Failure, address, once } from "./api.js";
import { bytes, el, say } from "./dom.js";
import { SignedOut, bearer, facts, refused } from "./session.js";

const AT_ONCE = 2;
const LARGEST = 50 * 1024 * 1024;

export class Uploads {
  /**
   * `list`: the element that shows them; `kinds`: the endings that are taken, as `accept` of a file input has them;
   * `arrived(document)` is called for each that the server has taken.
   */
  constructor(list, kinds, arrived) {
    this.list = list;
    this.kinds = kinds.split(",");
    this.arrived = arrived;
    this.waiting = [];
    this.running = 0;
    window.addEventListener("beforeunload", (event) => { if (this.running) event.preventDefault(); });
  }

  /** Put files in the row. `collection`: its id, null for the default one. */
  add(files, collection) {
    for (const file of files) {
      const one = this.shown(file, collection, once());
      if (file.size > LARGEST) one.fail("It has more than 50 MB.");
      else if (!file.size) one.fail("It is empty.");
      else if (!this.kinds.some((kind) => file.name.toLowerCase().endsWith(kind))) one.fail("Files of this kind are not taken.");
      else this.waiting.push(one);
    }
    this.next();
  }

  next() {
    while (this.running < AT_ONCE && this.waiting.length) {
      const one = this.waiting.shift();
      this.running += 1;
      this.send(one).finally(() => {
        this.running -= 1;
        this.next();
      });
    }
  }

  // `key`: of its tries, so that one whose answer was lost is not taken for a second file.
  shown(file, collection, key) {
    const bar = el("progress", { max: 100, value: 0, "aria-label": `Upload of ${file.name}` });
    const state = el("span", { class: "soft" }, `waits, ${bytes(file.size)}`);
    const act = el("button", { type: "button", class: "link" }, "Cancel", el("span", { class: "unseen" }, ` the upload of ${file.name}`));
    const item = el("li", {}, el("span", { class: "name" }, file.name), bar, state, act);
    this.list.append(item);
    const one = { file, collection, item, bar, state, key, request: null, cancelled: false };
    one.fail = (words, retry = false) => {
      bar.remove();
      item.classList.add("failed");
      state.className = "bad";
      state.textContent = words;
      say(`${file.name}: ${words}`);
      act.replaceChildren(retry ? "Try again" : "Dismiss", el("span", { class: "unseen" }, `: ${file.name}`));
      act.onclick = () => {
        item.remove();
        if (!retry) return;
        this.waiting.push(this.shown(file, collection, key));
        this.next();
      };
    };
    act.onclick = () => {
      this.waiting = this.waiting.filter((each) => each !== one);
      one.cancelled = true;
      if (one.request) one.request.abort();
      item.remove();
    };
    return one;
  }

  async send(one) {
    try {
      const made = await this.sent(one);
      if (!made) return;
      one.item.remove();
      say(`${one.file.name} is uploaded, and is being read.`);
      this.arrived(made);
    } catch (failed) {
      if (failed instanceof SignedOut) one.fail("You are signed out. Sign in again, then try again.", true);
      else one.fail(failed.message, !failed.status || failed.status >= 429);
    }
  }

  // Progress of what is sent: `fetch` does not tell it.
  async sent(one, tries = 1) {
    let token;
    try {
      token = await bearer();
    } catch (failed) {
      throw failed instanceof SignedOut ? failed : new Failure(0);
    }
    if (one.cancelled) return null;
    const form = new FormData();
    form.append("file", one.file);
    if (one.collection) form.append("collection_id", one.collection);
    const answer = await new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      one.request = request;
      request.open(facts.calls.uploadDocument.method, address("uploadDocument"));
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("Authorization", `Bearer ${token}`);
      request.setRequestHeader("Idempotency-Key", one.key);
      request.upload.addEventListener("progress", (event) => {
        if (!event.lengthComputable) return;
        one.bar.value = Math.round((100 * event.loaded) / event.total);
        one.state.textContent = event.loaded < event.total ? `${bytes(event.loaded)} of ${bytes(event.total)}` : "is being checked …";
      });
      request.addEventListener("load", () => resolve(request));
      request.addEventListener("error", () => reject(new Failure(0)));
      request.addEventListener("abort", () => resolve(null));
      request.send(form);
    });
    if (answer === null) return null;
    let body = null;
    try { body = JSON.parse(answer.responseText); } catch (other) { /* told by its status */ }
    if (answer.status === 201) return body;
    if (answer.status === 401) {
      refused(token);
      if (tries === 1) return this.sent(one, 2);
      throw new SignedOut();
    }
    throw new Failure(answer.status, body, Number(answer.getResponseHeader("Retry-After")) || 0);
  }
}
