// The list of conversations: the latest first, found by words, a page at a time.
import { call } from "./api.js";
import { byId, el, moment } from "./dom.js";
import { doing, tell } from "./page.js";

const PAGE = 30;

export class Shelf {
  /** `choose(id)` opens a conversation. */
  constructor(choose) {
    this.choose = choose;
    this.items = [];
    this.total = 0;
    this.words = "";
    this.current = null;
    this.visit = 0;
    this.list = byId("conversations");
    byId("older").addEventListener("click", doing(() => this.load(this.items.length)));
    byId("find").addEventListener("submit", (event) => event.preventDefault());
    byId("words").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        this.words = byId("words").value.trim();
        this.load().catch(tell);
      }, 250);
    });
    byId("shelf-toggle").addEventListener("click", () => this.unfold(byId("shelf-toggle").getAttribute("aria-expanded") !== "true"));
    byId("shelf").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && byId("shelf-toggle").getAttribute("aria-expanded") === "true") {
        this.unfold(false);
        byId("shelf-toggle").focus();
      }
    });
  }

  /** On narrow windows the list lies over the messages. */
  unfold(open) {
    byId("shelf-toggle").setAttribute("aria-expanded", String(open));
    byId("shelf").classList.toggle("unfolded", open);
    if (open) byId("new").focus();
  }

  async load(offset = 0) {
    const visit = ++this.visit;
    const found = await call("listConversations", { query: { search: this.words, limit: PAGE, offset } });
    if (visit !== this.visit) return; // another look was begun meanwhile
    this.items = offset ? [...this.items, ...found.items] : found.items;
    this.total = found.total;
    this.draw();
  }

  find(id) {
    return this.items.find((each) => each.id === id) || null;
  }

  mark(id) {
    this.current = id;
    this.draw();
  }

  draw() {
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    this.list.replaceChildren(...this.items.map((each) => el("li", {},
      el("button", {
        type: "button", "data-id": each.id, "aria-current": each.id === this.current ? "true" : null,
        onclick: () => {
          this.unfold(false);
          this.choose(each.id);
        },
      },
      el("span", { class: "name" }, each.title),
      el("span", { class: "soft line-2" }, each.active_task_id ? "is being answered …" : moment(each.updated_at))))));
    if (focused) this.list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
    byId("older").hidden = this.items.length >= this.total;
    byId("none").hidden = this.items.length > 0;
    byId("none").textContent = this.words ? "None has these words." : "None yet.";
  }
}
