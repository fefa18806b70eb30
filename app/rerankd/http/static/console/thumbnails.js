import { h } from "./dom.js";
import { addressIn, shownAt } from "./pictures.js";

const sizeOf = ({ width, height }) => (width ? `${width} × ${height}` : null);

/** A picture as it can be shown, null for a content without one. */
export function pictureIn(content) {
  const address = addressIn(content);
  return address ? { size: null, ...shownAt(address) } : null;
}

/** The small image of a picture; `alt` is empty where its name stands beside it. */
export function thumbnail(picture, alt = "") {
  if (!picture.thumbnail) return h("span", { class: "thumbnail none", "aria-hidden": "true" }, "?");
  return h("img", { class: "thumbnail", src: picture.thumbnail, alt, loading: "lazy" });
}

/** What stands for a document that may be a picture: its text, or the picture's name. */
export function labelOf(content, textOf) {
  const text = textOf(content);
  return text || (pictureIn(content)?.name ?? "");
}

/** Pictures in the form, each with its size and a button that removes it. */
export class Shelf {
  #list;
  #removed;
  #otherwise;

  /** `removed(id)` is told; `otherwise` gets the focus when the last picture is gone. */
  constructor(list, { removed, otherwise }) {
    this.#list = list;
    this.#removed = removed;
    this.#otherwise = otherwise;
  }

  /** Show pictures; `numbered(place)` says what results call each. */
  show(pictures, numbered = () => null) {
    const shown = pictures.map((picture, place) => [picture.id, numbered(place)].join());
    if (this.#list.dataset.shown === shown.join(" ")) return;
    this.#list.dataset.shown = shown.join(" ");
    this.#list.hidden = !pictures.length;
    this.#list.replaceChildren(...pictures.map((picture, place) => h("li", null,
      thumbnail(picture),
      h("span", { class: "about" }, h("span", { class: "name", dir: "auto" }, picture.name),
        h("span", { class: "muted" }, [numbered(place), sizeOf(picture)].filter(Boolean).join(", "))),
      h("button", { type: "button", class: "button quiet compact", "aria-label": `Remove ${picture.name}`, click: () => this.#remove(picture.id, place) }, "✕"))));
  }

  #remove(id, place) {
    this.#removed(id);
    const buttons = this.#list.querySelectorAll("button");
    (buttons[Math.min(place, buttons.length - 1)] ?? this.#otherwise).focus();
  }
}
