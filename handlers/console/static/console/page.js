// What both pages share: getting in, going out, and saying what went wrong.
import { Failure, call } from "./api.js";
import { SignedOut, bearer, facts, forget } from "./session.js";
import { byId, el, kept } from "./dom.js";

const PLACE = `thalweg-place-${facts.page}`;

/**
 * Run the page for whoever is signed in; for others, show the way in. `start` fetches what the page begins with, and may
 * be called again when that did not work; what it answers is called as soon as the page can be seen.
 */
export async function enter(start) {
  const back = kept.get(PLACE);
  if (back && !location.search) history.replaceState(null, "", location.pathname + back);
  byId("again").addEventListener("click", () => attempt(start));
  byId("out").addEventListener("click", out);
  // On narrow windows the bar scrolls sideways: the page that is open is to be seen in it.
  document.querySelector(".bar nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest", behavior: "instant" });
  await attempt(start);
}

async function attempt(start) {
  const waiting = setTimeout(() => { byId("waiting").hidden = false; }, 400);
  try {
    await bearer();
    const [account, begin] = await Promise.all([call("getCurrentUser"), start()]);
    kept.set(PLACE, null);
    byId("who").textContent = account.name;
    byId("who").title = `${account.email}, ${account.organization.name}`;
    show("desk");
    begin();
  } catch (failed) {
    if (failed instanceof SignedOut) {
      kept.set(PLACE, location.search);
      show("way-in");
    } else {
      byId("away-why").textContent = failed instanceof Failure ? failed.message : "Check your connection.";
      show("away");
      if (!(failed instanceof Failure || failed instanceof TypeError)) throw failed;
    }
  } finally {
    clearTimeout(waiting);
    byId("waiting").hidden = true;
  }
}

function show(id) {
  for (const each of ["way-in", "away", "desk"]) byId(each).hidden = each !== id;
}

async function out() {
  try {
    await call("logout");
  } catch (failed) {
    if (!(failed instanceof SignedOut)) return tell(failed);
  }
  forget();
  for (const key of Object.keys(window.sessionStorage)) if (key.startsWith("thalweg-")) kept.set(key, null);
  location.replace("/account/sign-in?surface=thallus");
  return undefined;
}

/** Say in the page what went wrong. `more`: a button or a link beside it. */
export function tell(failed, ...more) {
  const box = refusal();
  if (failed instanceof SignedOut) {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    kept.set(PLACE, location.search);
    byId("ended").hidden = false;
    byId("ended").querySelector("a").focus();
    return;
  }
  if (failed.name === "AbortError") return;
  const words = failed instanceof Error && !(failed instanceof Failure) ? "Something went wrong in this page. Load it again." : failed.message || String(failed);
  box.replaceChildren(el("span", {}, words), ...[...more, failed.way].filter(Boolean).flatMap((each) => [" ", each]),
    el("button", { type: "button", class: "link dismiss", "aria-label": "Dismiss", onclick: quiet }, "×"));
  box.hidden = false;
  if (failed instanceof Error && !(failed instanceof Failure)) throw failed;
}

/** Take back what `tell` said. */
export function quiet() {
  refusal().hidden = true;
}

// Behind a dialog nothing can be read or reached, so it has a box of its own.
function refusal() {
  const dialog = document.querySelector("dialog[open]");
  if (!dialog) return byId("refusal");
  let box = dialog.querySelector(".refusal");
  if (!box) {
    box = el("div", { class: "refusal", role: "alert", tabindex: -1, hidden: true });
    (dialog.querySelector("header") || dialog).append(box);
  }
  return box;
}

/** An act of a button: it cannot be pressed twice, and what goes wrong is told. */
export function doing(act) {
  return async (event) => {
    event.preventDefault();
    const button = event.submitter || event.currentTarget;
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    quiet();
    try {
      await act(event);
    } catch (failed) {
      tell(failed);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  };
}

/** A question with two answers, in a dialog. True for the act. */
export function asked(question, more, act) {
  return new Promise((resolve) => {
    const dialog = el("dialog", { class: "question", "aria-labelledby": "question-says" },
      el("form", { method: "dialog" },
        el("h2", { id: "question-says" }, question),
        el("p", { class: "soft" }, more),
        el("p", { class: "actions" },
          el("button", { class: "button quiet", value: "no", autofocus: true }, "No, keep it"),
          el("button", { class: "button danger", value: "yes" }, act))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    byId("main").append(dialog);
    dialog.showModal();
  });
}
