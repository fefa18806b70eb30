import { h, icon } from "./dom.js";
import { copy } from "./notices.js";

/** A block of code that scrolls inside itself, reachable by keyboard, with a button to copy it. */
export function codeBlock(label, text) {
  const shown = h("code", null, text);
  const element = h("div", { class: "code" },
    h("div", { class: "code-head" }, label, h("button", {
      type: "button",
      class: "button quiet compact",
      "aria-label": `Copy ${label}`,
      click: () => copy(shown.textContent, label),
    }, icon("copy"), "Copy")),
    h("pre", { tabindex: 0, role: "group", "aria-label": label }, shown));
  return { element, set: (next) => { shown.textContent = next; } };
}
