// Elements out of data. Text goes in as text and never as markup: what people and documents say stays words.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "className", "htmlFor", "tabIndex"]);

/** An element. `given`: attributes, the properties above, and `on…` for events; null and false are left out. */
export function el(name, given = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (PROPERTIES.has(key)) element[key] = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...inside.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** A link's address if it is one that may be followed, else null. Nothing that runs: no javascript:, no data:. */
export function followable(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch (broken) {
    return null;
  }
}

/** A link that leaves the platform. */
export function outward(href, ...inside) {
  return el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...inside);
}

/** For people: a moment, short. */
export function moment(text) {
  const at = new Date(text);
  if (!text || isNaN(at)) return "";
  const today = new Date().toDateString() === at.toDateString();
  return today ? at.toLocaleTimeString([], { timeStyle: "short" }) : at.toLocaleDateString([], { dateStyle: "medium" });
}

export function time(text) {
  const at = new Date(text);
  return el("time", { datetime: text, title: isNaN(at) ? null : at.toLocaleString() }, moment(text));
}

export function bytes(count) {
  const units = ["bytes", "KB", "MB", "GB"];
  let size = count;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit && size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

export function span(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 60 ? `${Math.round(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export const many = (count, one, more = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : more}`;

/** What a session of the browser may refuse to keep. */
export const kept = {
  get(key, store = window.sessionStorage) {
    try { return store.getItem(key); } catch (refused) { return null; }
  },
  set(key, value, store = window.sessionStorage) {
    try {
      if (value === null || value === "") store.removeItem(key);
      else store.setItem(key, value);
    } catch (refused) { /* then it does not outlive the page */ }
  },
};

/** Tell a screen reader. The same words twice are told twice. */
export function say(text) {
  const box = byId("says");
  box.textContent = box.textContent === text ? `${text} ` : text;
}

export const pause = (milliseconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, milliseconds);
  if (signal) signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});
