/** Elements that every part of the page is made of. */

/** Build an element: strings become text, functions listeners; null and false are left out. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  const kept = (value) => value !== undefined && value !== null && value !== false;
  for (const [name, value] of Object.entries(props ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (kept(value)) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(kept));
  return element;
}

/** Turn the `code` spans of a description into elements. */
export function inline(text) {
  return (text ?? "").split(/`([^`]+)`/).map((part, i) => (i % 2 ? h("code", null, part) : part));
}

export function paragraphs(text) {
  return (text ?? "").split(/\n\s*\n/).filter((part) => part.trim())
    .map((part) => h("p", null, inline(part)));
}

/** A block of code that scrolls inside itself, reachable by keyboard. */
export function codeBlock(label, text) {
  return h("pre", { tabindex: 0, role: "group", "aria-label": label }, h("code", null, text));
}

export const byId = (id) => document.getElementById(id);
