// A passage in its document: the one that was cited or found, with what stands around it.
import { Failure, call, open } from "./api.js";
import { bytes, el, followable, many, outward } from "./dom.js";
import { SignedOut } from "./session.js";
import { doing, tell } from "./page.js";

const AT_ONCE = 100; // passages: the most that a page of them holds
const AROUND = 3;
const MORE = 10;

/** Where a citation leads to, as words and a way there. Null `document_id`: there is only what it says of itself. */
export function openCitation(citation) {
  if (citation.document_id) {
    openPlace({
      documentId: citation.document_id,
      chunkId: citation.chunk_id,
      page: citation.page,
      place: citation,
      title: citation.title,
      words: citation.snippet,
      marks: [],
    });
    return;
  }
  const href = citation.url && followable(citation.url);
  const kinds = { table: "A table", web: "A page on the web", conversation: "An earlier conversation", memory: "Something remembered", integration: "An integration", document: "A document" };
  const dialog = sheet(citation.title, [kinds[citation.kind], citation.table_name].filter(Boolean).join(": "));
  dialog.body.append(passage({ text: citation.snippet || "There are no words with it." }, { cited: true }));
  if (href) dialog.actions.prepend(outward(href, "Open the page"));
}

/**
 * Show a document at a passage; at its beginning without `chunkId`. `words`: what was cited, in case the document is gone,
 * and `place` where it stood.
 * `marks`: spans of the passage to highlight.
 */
export function openPlace({ documentId, chunkId = null, page = null, place = {}, title = "", words = "", marks = [] }) {
  const dialog = sheet(title || "Document", "");
  const gone = words ? { text: words, page: place.page, sheet: place.sheet, cells: place.cells } : null;
  show(dialog, { documentId, chunkId, page, gone, marks }).catch((failed) => {
    if (failed instanceof SignedOut) {
      dialog.close();
      tell(failed);
      return;
    }
    const away = failed instanceof Failure && failed.status === 404;
    dialog.facts.textContent = away ? "The document is not there any more. This is what was cited:" : failed.message;
    dialog.body.replaceChildren(...(gone ? [passage(gone, { cited: true })] : []));
  });
}

async function show(dialog, { documentId, chunkId, page, gone, marks }) {
  const path = { document_id: documentId };
  const [held, first] = await Promise.all([
    call("getDocument", { path }),
    call("listDocumentChunks", { path, query: { limit: AT_ONCE, offset: 0 } }),
  ]);
  dialog.title.textContent = held.title;
  dialog.facts.textContent = [
    held.filename === held.title ? null : held.filename,
    bytes(held.size_bytes),
    held.page_count ? many(held.page_count, "page") : null,
    many(first.total, "passage"),
  ].filter(Boolean).join(" · ");
  dialog.actions.prepend(el("button", { type: "button", class: "button", onclick: doing(() => download(held)) }, "Download the file"));

  const passages = new Passages(path, first);
  const at = chunkId ? await passages.find(chunkId, page && held.page_count ? page / held.page_count : 0) : 0;
  if (first.total === 0 || at === null) {
    dialog.body.replaceChildren(el("p", { class: "soft" }, first.total ? "This passage is not there any more: the document was read in anew." : "It has no passages yet."),
      ...(gone ? [passage(gone, { cited: true })] : []));
    return;
  }
  let from = chunkId ? Math.max(0, at - AROUND) : 0;
  let to = Math.min(first.total, (chunkId ? at : from) + (chunkId ? AROUND : MORE) + 1);
  const list = el("ol", { class: "passages" });
  const earlier = el("button", { type: "button", class: "button quiet" }, "What stands before");
  const later = el("button", { type: "button", class: "button quiet" }, "What stands behind");
  const item = (chunk) => el("li", {}, passage(chunk, chunk.id === chunkId ? { cited: true, marks, total: first.total } : { total: first.total }));
  const ends = () => {
    earlier.hidden = from === 0;
    later.hidden = to >= first.total;
  };
  earlier.addEventListener("click", doing(async () => {
    const start = Math.max(0, from - MORE);
    const height = dialog.body.scrollHeight;
    list.prepend(...(await passages.between(start, from)).map(item));
    from = start;
    ends();
    dialog.body.scrollTop += dialog.body.scrollHeight - height; // what is read stays where it is
  }));
  later.addEventListener("click", doing(async () => {
    const end = Math.min(first.total, to + MORE);
    list.append(...(await passages.between(to, end)).map(item));
    to = end;
    ends();
  }));
  list.append(...(await passages.between(from, to)).map(item));
  ends();
  dialog.body.replaceChildren(earlier, list, later);
  const cited = list.querySelector(".cited");
  if (cited) cited.scrollIntoView({ block: "center" });
}

/** A document's passages, page by page as they are wanted. */
class Passages {
  constructor(path, first) {
    this.path = path;
    this.total = first.total;
    this.pages = new Map([[0, first.items]]);
  }

  async page(number) {
    if (!this.pages.has(number)) {
      const found = await call("listDocumentChunks", { path: this.path, query: { limit: AT_ONCE, offset: number * AT_ONCE } });
      this.pages.set(number, found.items);
    }
    return this.pages.get(number);
  }

  async between(from, to) {
    const found = [];
    for (let at = from; at < to;) {
      const items = await this.page(Math.floor(at / AT_ONCE));
      const part = items.slice(at % AT_ONCE, at % AT_ONCE + to - at);
      if (!part.length) break;
      found.push(...part);
      at += part.length;
    }
    return found;
  }

  /** The place of a passage; null where there is none. The contract has no way to ask for it: looked for from where its
   * page lets it be expected (`share` of the document), and from there outwards. */
  async find(chunkId, share) {
    const count = Math.ceil(this.total / AT_ONCE);
    const start = Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const order = Array.from({ length: count }, (_, number) => number).sort((a, b) => Math.abs(a - start) - Math.abs(b - start));
    for (const number of order) {
      const at = (await this.page(number)).findIndex((chunk) => chunk.id === chunkId);
      if (at >= 0) return number * AT_ONCE + at;
    }
    return null;
  }
}

function passage(chunk, { cited = false, marks = [], total = 0 } = {}) {
  const where = [
    capital(stands(chunk)),
    chunk.heading === chunk.sheet ? null : chunk.heading,
    chunk.index === undefined ? null : `passage ${chunk.index + 1}${total ? ` of ${total}` : ""}`,
  ].filter(Boolean).join(" · ");
  return el("article", { class: cited ? "passage cited" : "passage", "aria-current": cited ? "true" : null },
    where ? el("p", { class: "soft where" }, cited ? el("span", { class: "mark" }, "The place") : null, cited ? " " : null, where) : null,
    el("p", { class: "words" }, marked(chunk.text, marks)));
}

/** Where something stands in its document, in words; empty where that has no places. */
export function stands({ page, sheet, cells }) {
  return [page ? `page ${page}` : null, sheet ? `sheet “${sheet}”` : null, cells ? `cells ${cells}` : null].filter(Boolean).join(", ");
}

const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

/** Text with spans of it highlighted. Places are in characters as the contract counts them: code points. */
export function marked(text, spans) {
  const letters = Array.from(text);
  const parts = [];
  let at = 0;
  for (const { start, end } of [...spans].sort((a, b) => a.start - b.start)) {
    if (start < at || end <= start || end > letters.length) continue;
    parts.push(letters.slice(at, start).join(""), el("mark", {}, letters.slice(start, end).join("")));
    at = end;
  }
  parts.push(letters.slice(at).join(""));
  return parts.filter((part) => part !== "");
}

/** Save the original file. It needs the token, so it is fetched here and handed to the browser. */
export async function download(held) {
  const answer = await open("downloadDocument", { path: { document_id: held.id }, headers: { Accept: "*/*" } });
  const url = URL.createObjectURL(await answer.blob());
  el("a", { href: url, download: held.filename }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

function sheet(title, facts) {
  const dialog = {
    title: el("h2", { id: "place-says", tabindex: -1, autofocus: true }, title),
    facts: el("p", { class: "soft" }, facts),
    actions: el("p", { class: "actions" }),
    body: el("div", { class: "place-body", tabindex: 0, role: "region", "aria-label": "Passages" }),
  };
  const element = el("dialog", { class: "place", "aria-labelledby": "place-says" },
    el("header", {}, dialog.title, dialog.facts, dialog.actions), dialog.body);
  dialog.actions.append(el("button", { type: "button", class: "button quiet", onclick: () => element.close() }, "Close"));
  element.addEventListener("click", (event) => { if (event.target === element) element.close(); });
  dialog.close = () => element.close();
  element.addEventListener("close", () => element.remove());
  document.getElementById("main").append(element);
  element.showModal();
  dialog.title.focus();
  return dialog;
}
