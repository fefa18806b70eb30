import { codeBlock } from "./code_block.js";
import { h } from "./dom.js";
import { LANGUAGES } from "./snippets.js";

/** The tabs of languages below the form and the code of the one that is chosen. */
export class CodeTabs {
  #parts;
  #write;
  #language = "curl";
  #code = codeBlock("Request", "");

  /** `write(language)` gives the code; it is asked for only while it can be seen. */
  constructor(parts, write) {
    this.#parts = parts;
    this.#write = write;
    parts.snippet.append(this.#code.element);
    parts.code.addEventListener("toggle", () => this.show());
    this.#offer();
  }

  show() {
    if (this.#parts.code.open) this.#code.set(this.#write(this.#language));
  }

  #offer() {
    const tabs = Object.entries(LANGUAGES).map(([id, name]) =>
      h("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": "snippet", click: () => choose(id) }, name));
    const choose = (id) => {
      this.#language = id;
      for (const tab of tabs) {
        const on = tab.id === `tab-${id}`;
        tab.setAttribute("aria-selected", String(on));
        tab.tabIndex = on ? 0 : -1;
      }
      this.#parts.snippet.setAttribute("aria-labelledby", `tab-${id}`);
      this.show();
    };
    this.#parts.languages.append(...tabs);
    this.#parts.languages.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
      choose(next.id.slice("tab-".length));
      next.focus();
    });
    choose(this.#language);
  }
}
