// The list of documents: a page at a time, and how far the reading of each is until it ends.
import { Failure, call } from "./api.js";
import { byId, bytes, el, many, say, time } from "./dom.js";
import { asked, doing, tell } from "./page.js";
import { download, openPlace } from "./place.js";
import { SignedOut } from "./session.js";

const PAGE = 50;
const LOOK = 1500; // milliseconds between two looks at what is being read
const CLOSELY = 4; // so many are asked how far they are
const STAGES = { extracting: "its text is being read", chunking: "it is being cut into passages", embedding: "its passages are being learnt" };

const unfinished = (held) => held.status === "pending" || held.status === "processing";

export class Files {
  /** `changed` is called when documents come or go. */
  constructor(changed) {
    this.changed = changed;
    this.items = [];
    this.deleted = new Set();
    this.total = 0;
    this.view = { scope: "personal", collection: null };
    this.words = "";
    this.visit = 0;
    byId("more").addEventListener("click", doing(() => this.load(this.items.length)));
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.watch(); });
  }

  /** `view`: `{scope, collection}`, whose documents. */
  async open(view) {
    this.view = view;
    await this.load();
  }

  async find(words) {
    this.words = words;
    await this.load();
  }

  query(limit, offset) {
    return { scope: this.view.scope, collection_id: this.view.collection, search: this.words, limit, offset };
  }

  async load(offset = 0) {
    const visit = ++this.visit;
    const found = await call("listDocuments", { query: this.query(PAGE, offset) });
    if (visit !== this.visit) return;
    if (!offset) {
      this.items = [];
      byId("documents").replaceChildren();
    }
    for (const held of found.items) this.put(held, false);
    this.total = found.total;
    this.ends();
    this.watch();
  }

  /** A document that has just come. */
  add(held) {
    if (this.view.scope === "personal" && (!this.view.collection || this.view.collection === held.collection_id) && !this.words) {
      if (this.put(held, true)) this.total += 1;
      this.ends();
    }
    this.watch();
  }

  /** Answers whether it was not there yet. */
  put(held, first) {
    if (this.deleted.has(held.id)) return false; // a list that was asked for before
    const known = this.items.find((each) => each.held.id === held.id);
    if (known) {
      this.renew(known, held);
      return false;
    }
    const row = { held, element: el("li", { "data-id": held.id }) };
    this.renew(row, held);
    if (first) {
      this.items.unshift(row);
      byId("documents").prepend(row.element);
    } else {
      this.items.push(row);
      byId("documents").append(row.element);
    }
    return true;
  }

  ends() {
    byId("more").hidden = this.items.length >= this.total;
    byId("none").hidden = this.items.length > 0;
    byId("none").textContent = this.words ? "No document has this in its name." : this.view.scope === "organization" ? "Your organisation has none yet." : "None yet. Upload one, and it can be searched within seconds.";
  }

  renew(row, held, processing = null) {
    row.held = held;
    const own = held.scope === "personal";
    const focused = [...row.element.querySelectorAll("button")].indexOf(document.activeElement);
    const name = el("span", { class: "unseen" }, ` ${held.title}`);
    row.element.className = held.status;
    row.element.replaceChildren(
      el("div", { class: "about" },
        el("button", { type: "button", class: "link name", disabled: held.status !== "completed", onclick: () => openPlace({ documentId: held.id, title: held.title }) }, held.title),
        el("p", { class: "soft" }, [held.title === held.filename ? null : held.filename, bytes(held.size_bytes), held.page_count ? many(held.page_count, "page") : null].filter(Boolean).join(" · "), " · ", time(held.created_at))),
      this.state(held, processing),
      el("div", { class: "acts" },
        el("button", { type: "button", class: "button quiet", onclick: doing(() => download(held)) }, "Download", name),
        own ? el("button", { type: "button", class: "button quiet", onclick: doing(() => this.remove(row)) }, "Delete", name.cloneNode(true)) : null));
    if (focused >= 0) row.element.querySelectorAll("button")[focused]?.focus();
  }

  state(held, processing) {
    if (held.status === "completed") return el("p", { class: "state ok" }, `Can be searched: ${many(held.chunk_count, "passage")}`);
    if (held.status === "failed") return el("p", { class: "state bad" }, `Could not be read. ${held.error ? held.error.message : ""}`);
    const words = processing && processing.stage ? STAGES[processing.stage] : held.status === "pending" ? "waits to be read" : "is being read";
    const percent = processing ? processing.progress : null;
    return el("div", { class: "state reading" },
      el("progress", { max: 100, value: percent, "aria-label": `Reading ${held.title}` }),
      el("span", { class: "soft" }, percent ? `${words}, ${percent} %` : words));
  }

  async remove(row) {
    const { held } = row;
    if (!await asked(`Delete “${held.title}”?`, "The file and its passages go. Answers that cited it keep their words. This cannot be undone.", "Delete it")) return;
    await call("deleteDocument", { path: { document_id: held.id } });
    this.gone(row);
    say(`${held.title} is deleted.`);
    byId("files-says").focus();
  }

  gone(row) {
    this.deleted.add(row.held.id);
    // By its id: while the question was open the list may have been drawn anew.
    const same = (each) => each === row || each.held.id === row.held.id;
    this.items.filter(same).forEach((each) => each.element.remove());
    this.items = this.items.filter((each) => !same(each));
    this.total -= 1;
    this.ends();
    this.changed();
  }

  /** Look again until nothing that is shown is being read any more. */
  watch() {
    clearTimeout(this.timer);
    if (document.hidden || !this.items.some((row) => unfinished(row.held))) return;
    this.timer = setTimeout(async () => {
      try {
        await this.look();
      } catch (failed) {
        if (failed instanceof SignedOut) return tell(failed);
      }
      return this.watch();
    }, LOOK);
  }

  async look() {
    const rows = this.items.filter((row) => unfinished(row.held));
    const under = rows.filter((row) => row.held.status === "processing").concat(rows.filter((row) => row.held.status === "pending")).slice(0, CLOSELY);
    // One list for all of them, and how far those are that are read now: the same few calls however many wait.
    const [found, ...told] = await Promise.all([
      call("listDocuments", { query: this.query(100, 0) }),
      ...under.map((row) => call("getDocumentStatus", { path: { document_id: row.held.id } }).catch((failed) => {
        if (failed instanceof SignedOut) throw failed;
        if (failed instanceof Failure && failed.status === 404) this.gone(row); // deleted elsewhere
        return null;
      })),
    ]);
    for (const row of rows) {
      const now = found.items.find((each) => each.id === row.held.id);
      const processing = told.find((each) => each && each.document_id === row.held.id) || null;
      if (now) this.note(row, now, processing);
      else if (under.includes(row) && processing) this.note(row, await call("getDocument", { path: { document_id: row.held.id } }), processing);
    }
  }

  note(row, now, processing) {
    const ended = unfinished(row.held) && !unfinished(now);
    if (ended) say(now.status === "completed" ? `${now.title} can be searched.` : `${now.title} could not be read.`);
    this.renew(row, now, processing);
    if (ended) this.changed();
  }
}
