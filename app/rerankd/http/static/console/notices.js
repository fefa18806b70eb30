import { h } from "./dom.js";

const SHOWN_FOR = 6000;

/** Say something to screen readers alone. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Show a short message for a while; screen readers hear it once. */
export function toast(text) {
  const shown = h("p", { class: "toast" }, text);
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), SHOWN_FOR);
}

/** Put a text on the clipboard, also where the page is not a secure context. */
export async function copy(text, what) {
  const done = navigator.clipboard
    ? await navigator.clipboard.writeText(text).then(() => true, () => copiedByHand(text))
    : copiedByHand(text);
  toast(done ? `${what} copied` : "The browser did not allow copying; select the text instead");
}

function copiedByHand(text) {
  const area = h("textarea", { class: "visually-hidden", "aria-hidden": "true" });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
