// Searching in what documents say: passages with the words of the question highlighted, and the place of each.
import { call } from "./api.js";
import { byId, el, many, say } from "./dom.js";
import { marked, openPlace, stands } from "./place.js";

const MOST = 20;
let visit = 0;

/** Show what is found; raises what the call raises. */
export async function search({ words, kind }) {
  const mine = ++visit;
  const found = await call("queryDocuments", {
    json: { query: words, search_type: kind, limit: MOST },
  });
  if (mine !== visit) return;
  const facts = [
    found.results.length ? `${many(found.results.length, "passage")}, the best first` : "Nothing fits.",
    found.search_type !== kind ? "searched by words: no model for meaning is set up" : null,
    found.pending_documents ? `${many(found.pending_documents, "document")} still being read and not searched yet` : null,
  ].filter(Boolean).join(" · ");
  byId("found-facts").textContent = facts;
  byId("matches").replaceChildren(...found.results.map(match));
  byId("found").hidden = false;
  byId("shelves").hidden = true;
  say(facts);
  byId("found-says").focus();
}

export function close() {
  visit += 1;
  byId("found").hidden = true;
  byId("shelves").hidden = false;
}

function match(one) {
  const percent = Math.round(one.score * 100);
  const where = stands(one.citation);
  const open = () => openPlace({
    documentId: one.document_id, chunkId: one.chunk_id, page: one.citation.page, place: one.citation, title: one.citation.title, words: one.text, marks: one.highlights,
  });
  return el("li", { class: "match" },
    el("div", { class: "match-head" },
      el("button", { type: "button", class: "link name", onclick: open }, one.citation.title),
      el("span", { class: "soft" }, [one.citation.title === one.filename ? null : one.filename, where, one.scope === "organization" ? "of the organisation" : null].filter(Boolean).join(" · ")),
      el("span", { class: "score", title: "How well it fits; comparable within one search" },
        el("span", { class: "unseen" }, "Score "), el("meter", { min: 0, max: 1, value: one.score, "aria-hidden": "true" }), `${percent} %`)),
    el("p", { class: "words" }, marked(one.text, one.highlights)));
}
