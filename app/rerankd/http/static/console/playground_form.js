import * as documents from "./documents.js";
import { choices, h } from "./dom.js";
import { plural } from "./format.js";
import { pictureOf, referenceTo } from "./pictures.js";
import { mark } from "./playground_parts.js";
import { cannotSee, hasPictures } from "./sight.js";
import { Shelf, labelOf, pictureIn, thumbnail } from "./thumbnails.js";
import { markWords } from "./marks.js";

const MOST_NUMBERED = 200;
const TEXTS = ["query", "documents", "instruction", "overflow", "chunkTokens", "topN", "timeoutMs", "onTimeout", "minScore"];
const CHECKS = ["passages", "raw"];

/** The fields of the playground: from a draft into them and back, and what is wrong with them. */
export class RequestForm {
  #parts;
  #models = [];
  #shelves;

  /** `removed(id)` is told when a picture is taken away. */
  constructor(parts, removed) {
    this.#parts = parts;
    this.#shelves = {
      query: new Shelf(parts.queryShelf, { removed, otherwise: parts.queryFile }),
      documents: new Shelf(parts.shelf, { removed, otherwise: parts.file }),
    };
    parts.numbered.addEventListener("toggle", () => this.#showNumbered(this.#draft));
  }

  #draft = null;

  /** Whether one of the chosen models takes an instruction. */
  get instructed() {
    return !this.#parts.instructionField.hidden;
  }

  fill(draft) {
    for (const name of TEXTS) this.#parts[name].value = draft[name];
    for (const name of CHECKS) this.#parts[name].checked = draft[name];
  }

  /** The draft as the fields have it now; pictures, which are no fields, as they were. */
  read(draft) {
    const parts = this.#parts;
    return {
      ...draft,
      ...Object.fromEntries(TEXTS.map((name) => [name, parts[name].value])),
      ...Object.fromEntries(CHECKS.map((name) => [name, parts[name].checked])),
      model: parts.model.value || draft.model,
      compare: parts.model.options.length ? parts.compare.value : draft.compare,
    };
  }

  /** Bring everything about the fields in line with a draft. */
  show(draft) {
    this.#draft = draft;
    const parts = this.#parts;
    const { documents: found, form, fault } = documents.parse(draft.documents);
    const how = found.length && form !== "lines" ? `, ${form}` : "";
    const pictures = draft.pictures.map(pictureOf).filter(Boolean);
    parts.documentCount.textContent = plural(found.length + pictures.length, "document") + how;
    mark(parts.documents, parts.documentsFault, fault);
    mark(parts.query, parts.queryFault, null);
    parts.chunkField.hidden = draft.overflow !== "chunk";
    const asked = pictureOf(draft.queryPicture);
    this.#shelves.query.show(asked ? [asked] : []);
    this.#shelves.documents.show(pictures, (place) => `document ${found.length + place + 1}`);
    this.#showNumbered(draft);
    this.#showModel(draft);
  }

  offer(models, draft) {
    this.#models = models;
    const named = models.map((model) => [model.id, [model.id, ...[model.state !== "ready" && model.state, ...(model.marks ?? [])].filter(Boolean).map((one) => `(${one})`)].join(" ")]);
    choices(this.#parts.model, named);
    choices(this.#parts.compare, [["", "Nothing"], ...named]);
    for (const part of ["model", "compare"]) {
      if (named.some(([id]) => id === draft[part])) this.#parts[part].value = draft[part];
    }
  }

  /** Mark what is missing or can't be; returns whether the request can be sent. */
  isComplete(draft) {
    const parts = this.#parts;
    const { documents: found, fault } = documents.parse(draft.documents);
    const missing = found.length + draft.pictures.length ? fault : fault ?? "Enter at least one document";
    mark(parts.documents, parts.documentsFault, missing ?? cannotSee(draft, this.#models));
    mark(parts.query, parts.queryFault, draft.query.trim() || draft.queryPicture ? null : "Enter a query");
    const wrong = [parts.query, parts.documents].find((one) => one.getAttribute("aria-invalid"));
    wrong?.focus();
    return !wrong;
  }

  #showModel(draft) {
    const chosen = [draft.model, draft.compare].map((id) => this.#models.find((one) => one.id === id)).filter(Boolean);
    this.#parts.instructionField.hidden = !chosen.some((model) => model.facts?.takes_instruction);
    this.#parts.aboutModel.replaceChildren(...markWords(chosen));
    this.#parts.aboutModel.hidden = !this.#parts.aboutModel.childNodes.length;
    const blind = hasPictures(draft) ? cannotSee(draft, this.#models) : null;
    this.#parts.sight.hidden = !blind;
    if (blind !== this.#parts.sight.textContent) this.#parts.sight.textContent = blind ?? "";
  }

  /** The documents with the numbers that results name them by. */
  #showNumbered(draft) {
    const { numbered, numberedList } = this.#parts;
    const { documents: found } = documents.parse(draft.documents);
    const all = [...found, ...draft.pictures.filter(pictureOf).map((id) => ({ image: referenceTo(id) }))];
    numbered.hidden = !all.length;
    if (!numbered.open) return;
    const rest = all.length - MOST_NUMBERED;
    numberedList.replaceChildren(...all.slice(0, MOST_NUMBERED).map(numberedItem),
      ...(rest > 0 ? [h("li", { class: "muted" }, `and ${plural(rest, "more document")}`)] : []));
  }
}

function numberedItem(content, place) {
  const picture = pictureIn(content);
  return h("li", null, h("span", { class: "which" }, place + 1),
    h("span", { class: "label", dir: "auto" }, picture && thumbnail(picture), labelOf(content, documents.textOf)));
}
