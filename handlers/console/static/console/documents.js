// The documents page: collections, uploads, the list with how far each is read, and search.
import { call } from "./api.js";
import { byId, el, many, say } from "./dom.js";
import { Files } from "./files.js";
import { asked, doing, enter, tell } from "./page.js";
import { close, search } from "./search.js";
import { Uploads } from "./upload.js";

const EVERYTHING = { scope: "personal", collection: null, name: "All documents" };
const SHARED = { scope: "organization", collection: null, name: "Your organisation’s" };
const ALL = 100; // collections of a page; a person has 200 at most

let collections = [];
let view = EVERYTHING;
const files = new Files(() => renewCollections().catch(() => {}));
const uploads = new Uploads(byId("uploads"), byId("files").accept, (held) => {
  files.add(held);
  renewCollections().catch(() => {});
});

// --- collections -------------------------------------------------------------------------------------------------

async function renewCollections() {
  const first = await call("listCollections", { query: { limit: ALL, offset: 0 } });
  const rest = first.total > ALL ? await call("listCollections", { query: { limit: ALL, offset: ALL } }) : { items: [] };
  collections = [...first.items, ...rest.items];
  draw();
}

function draw() {
  const count = collections.reduce((sum, each) => sum + each.document_count, 0);
  const rows = [
    choice(EVERYTHING, count),
    ...collections.map((each) => choice({ scope: "personal", collection: each.id, name: each.name, held: each }, each.document_count)),
    choice(SHARED, null),
  ];
  const focused = byId("collections").contains(document.activeElement) ? document.activeElement.dataset.id : null;
  byId("collections").replaceChildren(...rows);
  if (focused) byId("collections").querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  const into = view.collection ? view : { name: (collections.find((each) => each.is_default) || { name: "General" }).name };
  byId("into").textContent = into.name;
  byId("drop").hidden = view.scope !== "personal";
  byId("files-says").textContent = view.name;
}

function choice(to, count) {
  const current = to.scope === view.scope && to.collection === view.collection;
  const removable = current && to.held && !to.held.is_default;
  return el("li", {},
    el("button", { type: "button", class: "choice", "data-id": to.collection || to.scope, "aria-current": current ? "true" : null, onclick: doing(() => go(to)) },
      el("span", { class: "name" }, to.name), count === null ? null : el("span", { class: "soft number" }, String(count), el("span", { class: "unseen" }, count === 1 ? " document" : " documents"))),
    removable ? el("button", { type: "button", class: "link remove", onclick: doing(() => removeCollection(to)) }, "Delete", el("span", { class: "unseen" }, ` the collection ${to.name}`)) : null);
}

async function go(to, { push = true } = {}) {
  view = to;
  const query = new URLSearchParams();
  if (to.scope !== "personal") query.set("scope", to.scope);
  if (to.collection) query.set("collection", to.collection);
  if (push) history.pushState(null, "", query.size ? `?${query}` : location.pathname);
  draw();
  await files.open({ scope: to.scope, collection: to.collection });
}

async function addCollection() {
  const field = byId("collection-name");
  const name = field.value.trim();
  if (!name) {
    field.focus();
    return;
  }
  const made = await call("createCollection", { json: { name } });
  field.value = "";
  collections.push(made);
  await go({ scope: "personal", collection: made.id, name: made.name, held: made });
  say(`The collection ${made.name} is there.`);
  await renewCollections();
}

async function removeCollection(to) {
  const held = to.held.document_count;
  const more = held ? `Its ${many(held, "document")} move to “General”.` : "There is nothing in it.";
  if (!await asked(`Delete the collection “${to.name}”?`, more, "Delete it")) return;
  await call("deleteCollection", { path: { collection_id: to.collection } });
  collections = collections.filter((each) => each.id !== to.collection);
  await go(EVERYTHING);
  await renewCollections();
  say(`The collection ${to.name} is deleted.`);
  byId("files-says").focus();
}

// --- uploads -----------------------------------------------------------------------------------------------------

function take(list) {
  if (view.scope !== "personal") return;
  uploads.add(Array.from(list), view.collection);
}

function prepareDrop() {
  const holds = (event) => Array.from(event.dataTransfer ? event.dataTransfer.types : []).includes("Files");
  let inside = 0;
  const over = (on) => byId("drop").classList.toggle("over", on);
  window.addEventListener("dragenter", (event) => {
    if (!holds(event)) return;
    inside += 1;
    over(true);
  });
  window.addEventListener("dragleave", (event) => {
    if (!holds(event)) return;
    inside -= 1;
    if (inside <= 0) over(false);
  });
  window.addEventListener("dragover", (event) => { if (holds(event)) event.preventDefault(); }); // else the browser opens it
  window.addEventListener("drop", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    inside = 0;
    over(false);
    take(event.dataTransfer.files);
  });
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", () => {
    take(byId("files").files);
    byId("files").value = "";
  });
}

// --- the page ----------------------------------------------------------------------------------------------------

async function find({ push = true } = {}) {
  const words = byId("query").value.trim();
  if (!words) {
    back();
    byId("query").focus();
    return;
  }
  const kind = byId("kind").value;
  if (push) {
    const query = new URLSearchParams({ q: words });
    if (kind !== "hybrid") query.set("kind", kind);
    history.pushState(null, "", `?${query}`);
  }
  await search({ words, kind });
}

function back() {
  close();
  byId("query").value = "";
}

/** What the address says: a search, a collection, or all documents. */
async function open() {
  const query = new URLSearchParams(location.search);
  if (query.get("q")) {
    byId("query").value = query.get("q");
    byId("kind").value = ["text", "semantic"].includes(query.get("kind")) ? query.get("kind") : "hybrid";
    await Promise.all([go(EVERYTHING, { push: false }), find({ push: false })]);
    return;
  }
  back();
  const chosen = collections.find((each) => each.id === query.get("collection"));
  const to = query.get("scope") === "organization" ? SHARED : chosen ? { scope: "personal", collection: chosen.id, name: chosen.name, held: chosen } : EVERYTHING;
  await go(to, { push: false });
}

function prepare() {
  byId("search").addEventListener("submit", doing(() => find()));
  byId("back").addEventListener("click", () => {
    history.pushState(null, "", location.pathname);
    open().catch(tell);
    byId("query").focus();
  });
  byId("new-collection").addEventListener("submit", doing(addCollection));
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  let timer;
  byId("name").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => files.find(byId("name").value.trim()).catch(tell), 250);
  });
  prepareDrop();
  window.addEventListener("popstate", () => open().catch(tell));
}

prepare();
enter(async () => {
  await renewCollections();
  return () => open().catch(tell);
});
