// The chat page: which conversation is open, sending, and watching the answer come, also after a reload.
import { Failure, call, once } from "./api.js";
import { follow } from "./events.js";
import { byId, el, kept, say } from "./dom.js";
import { doing, enter, quiet, tell } from "./page.js";
import { Shelf } from "./shelf.js";
import { Answer, failure, message, note, question } from "./thread.js";

const PAGE = 30;
const messages = byId("messages");
const thread = byId("thread");
const box = byId("message");
const open = { id: null, total: 0, shown: 0, visit: 0, watching: null, answer: null };
let unsent = null; // what was sent without an answer from the server: it keeps its key, so that it is not asked twice

const shelf = new Shelf((id) => show(id).catch(tell));

// --- a conversation ----------------------------------------------------------------------------------------------

/** Open a conversation, or a new one. `push`: as a step in the browser's history. */
async function show(id, { push = true, focus = true } = {}) {
  const visit = leave();
  keep();
  Object.assign(open, { id, total: 0, shown: 0, answer: null });
  quiet();
  messages.replaceChildren();
  byId("earlier").hidden = true;
  byId("hello").hidden = Boolean(id);
  if (push) history.pushState(null, "", id ? `?conversation=${id}` : location.pathname);
  box.value = kept.get(draft()) || "";
  fit();
  shelf.mark(id);
  title();
  if (focus) box.focus();
  if (!id) return;
  const [page, active] = await Promise.all([
    call("listConversationMessages", { path: { conversation_id: id }, query: { order: "desc", limit: PAGE, offset: 0 } }),
    call("listActiveChats"),
  ]);
  if (visit !== open.visit) return;
  open.total = page.total;
  prepend(page.items);
  bottom();
  const task = active.tasks.find((each) => each.conversation_id === id && each.status === "processing");
  if (task) await resume(task.task_id, visit);
  else await unanswered(page.items, active.tasks, visit);
}

function prepend(items) {
  messages.prepend(...[...items].reverse().map(message));
  open.shown += items.length;
  byId("earlier").hidden = open.shown >= open.total;
}

async function earlier() {
  const { visit } = open;
  const page = await call("listConversationMessages", { path: { conversation_id: open.id }, query: { order: "desc", limit: PAGE, offset: open.shown } });
  if (visit !== open.visit) return;
  const height = thread.scrollHeight;
  const since = page.total - open.total; // what came after this conversation was opened pushes older messages back
  open.total = page.total;
  open.shown += since;
  prepend(page.items.slice(since));
  thread.scrollTop += thread.scrollHeight - height;
}

/** Why the last question has no answer, or not all of it, while the server knows it. `items`: the latest first. */
async function unanswered([last, before], tasks, visit) {
  if (!last || !last.task_id) return undefined;
  const broken = last.role === "assistant" && tasks.some((each) => each.task_id === last.task_id && each.status === "failed");
  if (last.role !== "user" && !broken) return undefined;
  let error = { code: "", message: "" };
  try {
    const result = await call("getChatResult", { path: { task_id: last.task_id } });
    if (result.error) error = result.error;
  } catch (gone) {
    if (!(gone instanceof Failure)) throw gone;
    if (gone.status === 409) return resume(last.task_id, visit); // it began between two calls
  }
  if (visit !== open.visit) return undefined;
  const asked = broken ? before : last;
  (broken ? messages.lastElementChild : messages).append(failure(error, retry(asked ? asked.content : "")));
  return bottom();
}

function title() {
  const known = open.id && shelf.find(open.id);
  const text = known ? known.title : open.id ? "Conversation" : "New conversation";
  byId("title").textContent = text;
  document.title = `${text} · Thalweg`;
}

async function refresh() {
  await shelf.load();
  title();
}

// --- watching ----------------------------------------------------------------------------------------------------

/** Stop watching whatever is watched. Answers the number of this visit: what began in an earlier one is not shown. */
function leave() {
  if (open.watching) open.watching.abort(new DOMException("left", "AbortError"));
  open.watching = null;
  if (open.answer) open.answer.stop();
  byId("leave").hidden = true;
  open.visit += 1;
  return open.visit;
}

/** Go on with a task that somebody came back to: what happened so far, then what comes. */
async function resume(taskId, visit) {
  let state;
  try {
    state = await call("getChatState", { path: { task_id: taskId } });
  } catch (failed) {
    if (failed instanceof Failure && failed.status === 410) return show(open.id, { push: false, focus: false });
    throw failed;
  }
  if (visit !== open.visit) return undefined;
  return watch(taskId, state.last_id, state.events);
}

/** Watch a task to its end. `before`: its events up to `last`. */
async function watch(taskId, last, before = []) {
  const { visit } = open;
  const answer = new Answer(taskId);
  open.answer = answer;
  messages.append(answer.element);
  before.forEach((event) => answer.apply(event));
  bottom();
  const final = before.at(-1);
  if (final && ["complete", "error"].includes(final.update_type)) return finish(answer, final);

  const control = new AbortController();
  open.watching = control;
  byId("leave").hidden = false;
  const broken = note();
  broken.setAttribute("role", "status");
  const trouble = (words) => {
    broken.textContent = words;
    if (words) answer.element.after(broken);
    else broken.remove();
  };
  try {
    const told = await follow(taskId, last, {
      signal: control.signal,
      trouble,
      event: (event) => {
        answer.apply(event);
        if (event.update_type !== "text_delta" && event.message) say(event.message);
      },
    });
    if (visit === open.visit) finish(answer, told);
  } catch (failed) {
    if (control.signal.aborted) return undefined;
    if (failed instanceof Failure && [404, 410].includes(failed.status)) return show(open.id, { push: false, focus: false });
    if (open.answer === answer) open.answer = null; // what is sent now is not shown as a word of direction
    answer.leave("The answer cannot be watched: ", failed.message || "you are signed out", ". ", again(taskId));
    throw failed;
  } finally {
    broken.remove();
    if (open.watching === control) {
      open.watching = null;
      byId("leave").hidden = true;
    }
  }
  return undefined;
}

function finish(answer, told) {
  open.answer = null;
  if (told.update_type === "complete") {
    answer.finish(told.citations);
    say("The answer is there.");
  } else {
    answer.fail(told.error, retry(lastQuestion()));
    say(`No answer. ${told.error.message}`);
  }
  refresh().catch(() => {}); // the list is a convenience: the next look brings it
}

const lastQuestion = () => [...messages.querySelectorAll(".question .body")].at(-1)?.textContent || "";

const retry = (text) => el("button", {
  type: "button", class: "link", onclick: () => {
    box.value = text;
    fit();
    box.focus();
  },
}, "Ask it again");

const again = (taskId) => el("button", {
  type: "button", class: "link", onclick: doing(async (event) => {
    event.currentTarget.closest("article").remove();
    await resume(taskId, leave());
  }),
}, "Watch it again");

function leaveIt() {
  const { answer } = open;
  leave();
  if (answer) answer.leave("You do not watch this any more. It goes on by itself, and its answer will stand here. ", again(answer.taskId));
  open.answer = null;
  box.focus();
}

// --- sending -----------------------------------------------------------------------------------------------------

async function send() {
  const text = box.value.trim();
  if (!text) {
    box.focus();
    return;
  }
  const json = { message: text, mode: byId("mode").value, ...(open.id ? { conversation_id: open.id } : {}) };
  const same = unsent && unsent.what === JSON.stringify(json);
  unsent = { what: JSON.stringify(json), key: same ? unsent.key : once() };
  const written = draft();
  let { visit } = open;
  let task;
  try {
    task = await call("startChat", { json, headers: { "Idempotency-Key": unsent.key } });
  } catch (failed) {
    if (!(failed instanceof Failure && (failed.status === 0 || failed.status >= 500))) unsent = null;
    if (failed instanceof Failure && BUSY.has(failed.code)) throw await busy(failed);
    throw failed;
  }
  unsent = null;
  kept.set(written, null);
  if (visit !== open.visit) return; // somebody has gone elsewhere meanwhile: it stands in its conversation
  box.value = "";
  fit();
  byId("hello").hidden = true;
  const asked = question(text, new Date().toISOString());
  if (open.answer && open.answer.taskId === task.task_id) { // a word of direction to what is under way
    open.answer.element.before(asked);
    bottom();
    return;
  }
  if (!open.id) {
    open.id = task.conversation_id;
    history.replaceState(null, "", `?conversation=${open.id}`);
    shelf.current = open.id;
  }
  visit = leave();
  messages.append(asked);
  bottom();
  refresh().catch(() => {});
  watch(task.task_id, "0").catch((failed) => { if (visit === open.visit) tell(failed); });
}

const BUSY = new Set(["task_active", "turn_active"]); // of this person; in this conversation

/** One task at a time: say where the other one is. */
async function busy(failed) {
  const here = failed.code === "turn_active" || (open.answer && open.answer.taskId === failed.details.task_id);
  if (here) return new Failure(409, { message: "This is still being worked on. Your message is kept: send it when the answer is there." });
  const active = await call("listActiveChats").catch(() => ({ tasks: [] }));
  const other = active.tasks.find((each) => each.task_id === failed.details.task_id);
  const told = new Failure(409, { message: "Another question of yours is still being worked on, and there is one at a time. Your message is kept." });
  if (other) told.way = el("button", { type: "button", class: "link", onclick: () => show(other.conversation_id).catch(tell) }, "Go there");
  return told;
}

// --- the box -----------------------------------------------------------------------------------------------------

const draft = () => `thalweg-draft-${open.id || "new"}`;
const keep = () => { if (box.dataset.touched) kept.set(draft(), box.value); };

function fit() {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight + 2, window.innerHeight * 0.35)}px`;
}

const near = () => thread.scrollHeight - thread.scrollTop - thread.clientHeight < 140;
const bottom = () => { thread.scrollTop = thread.scrollHeight; };

function prepare() {
  let follows = true;
  thread.addEventListener("scroll", () => { follows = near(); }, { passive: true });
  messages.addEventListener("grown", () => { if (follows) bottom(); });
  box.addEventListener("input", () => {
    box.dataset.touched = "yes";
    kept.set(draft(), box.value);
    fit();
  });
  box.addEventListener("keydown", (event) => {
    // Enter ends a word in some keyboards (`isComposing`), and where there is no other key for a line it begins one.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || window.matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    byId("composer").requestSubmit(byId("send"));
  });
  const sending = doing(send);
  byId("composer").addEventListener("submit", sending);
  byId("earlier").addEventListener("click", doing(earlier));
  byId("leave").addEventListener("click", leaveIt);
  byId("new").addEventListener("click", () => {
    shelf.unfold(false);
    show(null).catch(tell);
  });
  byId("mode").value = kept.get("thalweg-mode") || "auto";
  byId("mode").addEventListener("change", () => kept.set("thalweg-mode", byId("mode").value));
  window.addEventListener("popstate", () => show(wanted(), { push: false }).catch(tell));
}

const wanted = () => new URLSearchParams(location.search).get("conversation");

function begin() {
  show(wanted(), { push: false }).catch((failed) => {
    if (!(failed instanceof Failure && [404, 422].includes(failed.status))) return tell(failed);
    show(null).catch(tell);
    return tell("There is no such conversation.");
  });
}

prepare();
enter(async () => {
  await shelf.load();
  return begin;
});
