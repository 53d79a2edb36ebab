// Markdown as elements. `marked` only reads it (its lexer); what it reads becomes elements of the kinds below and text.
// Markup in it is shown as it is written, pictures become links, and no address is followed by itself.
import { lexer } from "./vendor/marked.js";
import { el, followable, outward } from "./dom.js";

/** Nodes for a text. `cite(number)` answers the element for `[number]`, or null where there is no such source. */
export function markdown(text, cite = () => null) {
  try {
    return lexer(text, { gfm: true }).flatMap((token) => block(token, cite));
  } catch (strange) { // nested beyond what can be read
    return [el("p", { class: "plain-text" }, text)];
  }
}

const blocks = (tokens, cite) => tokens.flatMap((token) => block(token, cite));
const inlines = (tokens, cite) => tokens.flatMap((token) => inline(token, cite));

function block(token, cite) {
  switch (token.type) {
    case "space":
    case "def":
      return [];
    case "paragraph":
      return [el("p", {}, inlines(token.tokens, cite))];
    case "heading": // below the headings of the page
      return [el(`h${Math.min(6, token.depth + 2)}`, {}, inlines(token.tokens, cite))];
    case "code":
      return [el("pre", { tabindex: 0 }, el("code", {}, token.text))];
    case "blockquote":
      return [el("blockquote", {}, blocks(token.tokens, cite))];
    case "list":
      return [el(token.ordered ? "ol" : "ul", { start: token.ordered && token.start > 1 ? token.start : null },
        token.items.map((item) => el("li", {}, item.task ? box(item) : null, blocks(item.tokens, cite))))];
    case "checkbox":
      return [];
    case "table":
      return [el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table" }, table(token, cite))];
    case "hr":
      return [el("hr")];
    case "text":
      return token.tokens ? inlines(token.tokens, cite) : words(token.text, cite);
    default:
      return [el("p", { class: "plain-text" }, token.raw.trimEnd())];
  }
}

const box = (item) => el("input", { type: "checkbox", checked: item.checked, disabled: true, "aria-label": item.checked ? "done" : "open" });

function table(token, cite) {
  const cells = (row, name) => row.map((cell) => el(name, { class: cell.align === "right" ? "number" : null }, inlines(cell.tokens, cite)));
  return el("table", {},
    el("thead", {}, el("tr", {}, cells(token.header, "th"))),
    el("tbody", {}, token.rows.map((row) => el("tr", {}, cells(row, "td")))));
}

function inline(token, cite) {
  switch (token.type) {
    case "strong":
    case "em":
    case "del":
      return [el(token.type, {}, inlines(token.tokens, cite))];
    case "codespan":
      return [el("code", {}, token.text)];
    case "br":
      return [el("br")];
    case "link":
    case "image": {
      // `[1]: address` somewhere in an answer must not lead the number of a source elsewhere.
      if (/^\[\d{1,4}\]$/.test(token.raw)) return words(token.raw, cite);
      const href = followable(token.href);
      const inside = token.type === "image" ? [token.text || token.href] : inlines(token.tokens, cite);
      return href ? [outward(href, inside)] : inside;
    }
    case "text":
      return token.tokens ? inlines(token.tokens, cite) : words(token.text, cite);
    case "escape":
      return [token.text];
    case "checkbox":
      return [];
    default:
      return [token.raw];
  }
}

const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&nbsp;": "\u00a0" };

/** Text, with the numbers of sources in it. */
function words(text, cite) {
  const plain = text.replace(/&(?:amp|lt|gt|quot|#39|nbsp);/g, (entity) => ENTITIES[entity]);
  return plain.split(/(\[\d{1,4}\])/).filter(Boolean).map((part) => {
    const number = /^\[(\d{1,4})\]$/.exec(part);
    return (number && cite(Number(number[1]))) || part;
  });
}
