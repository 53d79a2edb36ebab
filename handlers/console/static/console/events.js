// The events of a task, in order and each once, over as many connections as it takes.
import { Failure, open } from "./api.js";
import { SignedOut } from "./session.js";
import { pause } from "./dom.js";

const SILENCE = 45000; // milliseconds: three signs of life are missing
const LONGEST_PAUSE = 10000;
const PASSING = new Set([0, 408, 429, 500, 502, 503, 504]);

const place = (id) => Number(String(id).split("-").pop());

/**
 * Follow a task behind the event `last` until its `complete` or `error`, which is the answer of this function.
 * `event` is called with each event, `trouble` with words while the connection is broken and with null when it is whole
 * again. Raises `Failure` where going on is of no use, `SignedOut`, and the signal's abort.
 */
export async function follow(taskId, last, { event, trouble, signal }) {
  let wait = 300;
  for (;;) {
    let asked = 0;
    try {
      const answer = await open("streamChatProgress", {
        path: { task_id: taskId }, query: { last_id: last }, headers: { Accept: "text/event-stream" }, signal,
      });
      trouble(null);
      for await (const told of frames(answer.body)) {
        if (told.update_type === "heartbeat" || place(told.event_id) <= place(last)) continue;
        last = told.event_id;
        wait = 300;
        event(told);
        if (told.update_type === "complete" || told.update_type === "error") return told;
      }
    } catch (failed) {
      if (signal.aborted || failed instanceof SignedOut) throw failed;
      if (failed instanceof Failure && !PASSING.has(failed.status)) throw failed;
      asked = (failed.wait || 0) * 1000;
    }
    trouble("The connection broke. Going on as soon as the server answers …");
    await pause(Math.max(wait, asked), signal);
    wait = Math.min(wait * 2, LONGEST_PAUSE);
  }
}

/** The JSON of each frame. Ends where the stream ends or falls silent. */
async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await within(SILENCE, reader.read());
      if (done) return;
      const lines = (held + value).split(/\r\n|\n|\r/);
      held = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function within(milliseconds, promise) {
  let timer;
  const silent = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("silent")), milliseconds); });
  return Promise.race([promise, silent]).finally(() => clearTimeout(timer));
}
