import { h } from "./dom.js";

let serial = 0;

/**
 * Show a modal dialog; `fill(close)` gives its content. Resolves to what `close` was given.
 *
 * With `onEscape`, only `close` ends it: the Escape key, or a phone's way back, calls that instead.
 */
export function open(title, fill, { wide = false, onEscape = null } = {}) {
  serial += 1;
  const heading = `dialog-${serial}`;
  return new Promise((resolve) => {
    let answer;
    let ended = !onEscape;
    const dialog = h("dialog", { class: wide && "wide", "aria-labelledby": heading });
    const close = (value) => {
      answer = value;
      ended = true;
      dialog.close();
    };
    dialog.append(h("div", { class: "dialog" }, h("h2", { id: heading }, title), fill(close)));
    dialog.addEventListener("cancel", (event) => {
      if (ended || event.target !== dialog) return;
      event.preventDefault();
      onEscape();
    });
    dialog.addEventListener("close", () => {
      if (!ended) return dialog.showModal(); // a browser may insist the second time
      dialog.remove();
      return resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** The row of buttons that ends a dialog. */
export function foot(...buttons) {
  return h("div", { class: "dialog-foot" }, ...buttons);
}

export function button(text, onClick, kind = "") {
  return h("button", { type: "button", class: `button ${kind}`, click: onClick }, text);
}

/** Ask before something that can't be undone. */
export function confirm(title, text, verb) {
  return open(title, (close) => [
    h("p", null, text),
    foot(button("Cancel", () => close(false)), button(verb, () => close(true), "danger primary")),
  ]);
}
