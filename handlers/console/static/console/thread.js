// Messages: questions as they were written, answers as Markdown with their sources, and an answer that is on its way.
import { el, time } from "./dom.js";
import { markdown } from "./markdown.js";
import { openCitation, stands } from "./place.js";
import { Work } from "./work.js";

const MODES = { ask: "asked", research: "researched", investigate: "investigated" };

const head = (who, at, more) => el("header", {}, el("strong", {}, who), " ", at ? time(at) : null, more ? el("span", { class: "soft" }, ` · ${more}`) : null);

/** A message that has been said. */
export function message(said) {
  if (said.role === "user") return question(said.content, said.created_at);
  const body = el("div", { class: "body" });
  const element = el("article", { class: "message answer", "data-task": said.task_id }, head("Assistant", said.created_at, MODES[said.mode]), body);
  element.append(...fill(body, said.content, said.citations));
  return element;
}

export function question(text, at = null) {
  return el("article", { class: "message question" }, head("You", at), el("div", { class: "body plain-text" }, text));
}

/** A line between messages. */
export function note(...inside) {
  return el("p", { class: "note" }, ...inside);
}

/** Put an answer into `body`; what belongs below it is the answer. */
function fill(body, text, citations) {
  const sources = new Map(citations.map((each) => [each.index, each]));
  body.replaceChildren(...markdown(text, (number) => sources.has(number) ? cite(sources.get(number)) : null));
  if (!citations.length) return [];
  return [el("details", { class: "sources", open: citations.length <= 3 },
    el("summary", {}, `What it rests on (${citations.length})`),
    el("ol", {}, citations.map((each) => el("li", { value: each.index },
      el("button", { type: "button", class: "link source", onclick: () => openCitation(each) }, each.title),
      stands(each) ? el("span", { class: "soft" }, ` ${stands(each)}`) : null,
      each.snippet ? el("p", { class: "soft snippet" }, each.snippet) : null))))];
}

function cite(source) {
  const where = [source.title, stands(source)].filter(Boolean).join(", ");
  return el("button", { type: "button", class: "cite", title: where, "aria-label": `Source ${source.index}: ${where}`, onclick: () => openCitation(source) }, String(source.index));
}

const WHY = {
  cancelled: "It was stopped",
  limit_reached: "It has taken all that one question may",
  model_unavailable: "The model could not answer",
  rate_limited: "The model’s provider takes no more for now",
  refused: "It is not allowed",
  timed_out: "It took too long",
  tool_failed: "A tool did not work",
};

/** Why there is no answer, or not all of it, as a line. */
export function failure({ code, message: why }, ...more) {
  const words = WHY[code] ? `${WHY[code]}. ` : "";
  return note(el("strong", { class: "bad" }, "No answer. "), words, why && !words.startsWith(why) ? why : "", more.length ? " " : "", ...more);
}

/** An answer that is being worked on. */
export class Answer {
  constructor(taskId) {
    this.taskId = taskId;
    this.text = "";
    this.work = new Work();
    this.body = el("div", { class: "body" });
    this.element = el("article", { class: "message answer", "data-task": taskId, "aria-busy": "true" }, head("Assistant", null), this.work.element, this.body);
    this.drawn = 0;
    this.cost = 0;
  }

  apply(event) {
    this.work.apply(event);
    if (event.update_type !== "text_delta") return;
    this.text += event.delta;
    this.soon();
  }

  // A long answer takes longer to read anew with each word: no more than a fifth of the time goes into that.
  soon() {
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.draw();
    }, Math.max(60 - (performance.now() - this.drawn), this.cost * 4, 0));
  }

  draw() {
    const began = performance.now();
    this.body.replaceChildren(...markdown(this.text));
    this.drawn = performance.now();
    this.cost = this.drawn - began;
    this.element.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    this.work.stop();
    this.element.removeAttribute("aria-busy");
  }

  /** It is whole. */
  finish(citations) {
    this.stop();
    this.work.end("Worked");
    this.element.append(...fill(this.body, this.text, citations));
    this.element.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
  }

  /** There is none, or not all of it. */
  fail(error, ...more) {
    this.stop();
    this.work.end("Stopped");
    this.draw();
    this.element.append(failure(error, ...more));
    this.element.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
  }

  /** Nobody watches it from here on; it goes on by itself. */
  leave(...words) {
    this.stop();
    this.draw();
    this.element.append(note(...words));
  }
}
