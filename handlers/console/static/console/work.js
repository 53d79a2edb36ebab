// How an answer comes about: its plan, agents, tools and hypotheses, as their events tell.
import { el, many, span } from "./dom.js";

const OUTCOMES = { success: "done", partial: "done in part", failure: "failed", denied: "not allowed" };

/** A list of steps that folds. `apply` takes events in order; `end` closes it. */
export class Work {
  constructor() {
    this.now = el("span", { class: "now-doing" }, "Waiting for its turn …");
    this.summary = el("summary", {}, this.now);
    this.steps = el("ol", { class: "steps" });
    this.element = el("details", { class: "work working" }, this.summary, this.steps);
    this.open = new Map(); // what has begun and not ended, by a key
    this.agents = 0;
    this.tools = 0;
    this.began = null;
    this.last = null;
    this.timer = setInterval(() => this.tick(), 1000);
  }

  apply(event) {
    this.began ??= Date.parse(event.timestamp);
    this.last = Date.parse(event.timestamp);
    const act = this[event.update_type];
    if (act) act.call(this, event);
    if (event.message && event.update_type !== "text_delta") this.telling(event.message);
    else if (event.update_type === "text_delta") this.telling("Writing the answer");
  }

  agent_started(event) {
    this.agents += 1;
    this.begin(`agent ${event.agent} ${event.step_id}`, event);
  }

  agent_completed(event) {
    this.done(`agent ${event.agent} ${event.step_id}`, event);
  }

  tool_started(event) {
    this.tools += 1;
    this.begin(`tool ${event.call_id}`, event, 1).title = event.tool;
  }

  tool_completed(event) {
    this.done(`tool ${event.call_id}`, event);
  }

  plan_created(event) {
    this.add(event.message || "A plan", this.plan(event.steps));
  }

  replan_triggered(event) {
    this.add(event.message || "The plan is revised", el("p", { class: "soft" }, event.reason), this.plan(event.steps));
  }

  plan(steps) {
    return el("ol", { class: "plan" }, steps.map((step) => el("li", {}, step.title, " ", el("span", { class: "soft" }, step.agent))));
  }

  hypotheses_updated(event) {
    const list = el("ul", { class: "hypotheses" }, event.hypotheses.map((each) => el("li", { class: each.status },
      el("span", { class: "state" }, each.status), " ", each.statement, " ",
      el("span", { class: "soft" }, `${Math.round(each.confidence * 100)} %`))));
    if (this.hypotheses) this.hypotheses.remove(); // each event has all of them
    this.hypotheses = this.add(event.message || "Explanations", list);
  }

  add(text, ...more) {
    const item = el("li", {}, el("span", { class: "step-text" }, text), more);
    this.steps.append(item);
    return item;
  }

  begin(key, event, deeper = 0) {
    const item = this.add(event.message);
    item.className = `depth-${Math.min(3, event.depth + deeper)} running`;
    this.open.set(key, item);
    return item;
  }

  done(key, event) {
    const item = this.open.get(key) || this.add(event.message);
    this.open.delete(key);
    item.classList.remove("running");
    item.classList.add(event.outcome);
    item.append(" ", el("span", { class: "soft outcome" }, event.duration_ms < 50 ? OUTCOMES[event.outcome] : `${OUTCOMES[event.outcome]}, ${span(event.duration_ms)}`));
  }

  telling(text) {
    this.now.textContent = text;
    this.tick();
  }

  tick() {
    if (this.began === null) return;
    this.clock ??= this.summary.appendChild(el("span", { class: "soft clock", "aria-hidden": "true" }));
    this.clock.textContent = ` ${span(Math.max(0, Math.floor((Date.now() - this.began) / 1000) * 1000)).replace(".0", "")}`;
  }

  end(words) {
    this.stop();
    this.element.classList.remove("working");
    for (const item of this.open.values()) item.classList.remove("running");
    if (this.clock) this.clock.remove();
    const told = [
      this.began === null ? null : span(Math.max(0, this.last - this.began)),
      this.agents ? many(this.agents, "agent") : null,
      this.tools ? many(this.tools, "tool call") : null,
    ].filter(Boolean).join(", ");
    this.now.textContent = told ? `${words}: ${told}` : words;
    this.element.open = false;
    this.element.hidden = !this.steps.childElementCount;
  }

  /** The clock: it is over, or nobody looks any more. */
  stop() {
    clearInterval(this.timer);
  }
}
