import { call, inWords } from "./client.js";
import { h } from "./dom.js";
import { bytes, compact } from "./format.js";

const QUIET = 350;
const LEAST = 2;
const REFERENCE = /^hf:[\w.-]+\/[\w.-]+:[\w./-]+(@[\w./-]+)?$/;
const ADDRESS = /^https?:\/\/(?:www\.)?(?:huggingface\.co|hf\.co)\/(?<repo>[\w.-]+\/[\w.-]+)(?:\/(?:resolve|blob)\/(?<revision>[^/?#]+)\/(?<file>[^?#]+\.gguf))?/;

/** What a pasted address of the Hub means: a reference, a repository whose files are to be listed, or null. */
export function fromAddress(text) {
  const found = ADDRESS.exec(text.trim())?.groups;
  if (!found) return null;
  const pinned = found.revision && found.revision !== "main" ? `@${found.revision}` : "";
  return { repo: found.repo, reference: found.file ? `hf:${found.repo}:${decodeURIComponent(found.file)}${pinned}` : null };
}

/** What is wrong with what was typed so far, in words, or null. */
export function faultOf(text, entries) {
  const typed = text.trim();
  if (!typed) return "Enter a model: a path on the server, hf:owner/repo:file.gguf, or an address of the Hub.";
  if (entries.has(typed.toLowerCase().split(":")[0])) return null;
  if (typed.startsWith("hf:")) return REFERENCE.test(typed) ? null : "After hf: goes owner/repo:file.gguf, or owner/repo:Q8_0 for the file of that type.";
  if (/^https?:/.test(typed)) return "This address is not one of a model or a GGUF file on the Hub.";
  if (/^[\w.-]+\/[\w.-]+$/.test(typed)) return "This is a repository; search for it below and choose one of its files.";
  return /[/~\\]|\.gguf$/i.test(typed) ? null : "This is neither in the catalog nor a path. Paths end in .gguf.";
}

/** A search on the Hub below the model's field; `take(reference)` gets what somebody chooses. */
export class HubSearch {
  #list = h("ul", { class: "found" });
  #note = h("p", { class: "hint", role: "status" });
  #timer = null;
  #latest = 0;
  #take;

  constructor(take) {
    this.#take = take;
    this.input = h("input", { type: "search", id: "hub-search", autocomplete: "off", placeholder: "reranker", "aria-describedby": "hub-note", input: () => this.#soon() });
    this.#note.id = "hub-note";
    this.element = h("details", { class: "hub" }, h("summary", null, "Search the Hub"),
      h("div", { class: "field" }, h("label", { for: "hub-search" }, "Words of the name"), this.input, this.#note, this.#list));
    // Enter looks at once; it must not deploy what stands in the form.
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#search();
    });
  }

  /** Show the files of a repository. */
  async files(repo) {
    this.element.open = true;
    await this.#ask(`/v1/hub/files?repo=${encodeURIComponent(repo)}`, (files) => {
      this.#note.textContent = files.length ? `Files of ${repo}` : `${repo} has no GGUF file. “rerankd convert” makes one from a checkpoint.`;
      return files.map(({ file, bytes: size, reference }) => this.#row(file, size === null ? "" : bytes(size), () => this.#take(reference)));
    });
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), QUIET);
  }

  #search() {
    clearTimeout(this.#timer);
    const words = this.input.value.trim();
    if (words.length < LEAST) return this.#list.replaceChildren();
    const pasted = fromAddress(words);
    if (pasted) return pasted.reference ? this.#take(pasted.reference) : this.files(pasted.repo);
    return this.#ask(`/v1/hub?search=${encodeURIComponent(words)}`, (found) => {
      this.#note.textContent = found.length ? "Repositories with GGUF files, most downloaded first" : "Nothing with these words has GGUF files.";
      return found.map(({ id, downloads }) => this.#row(id, `${compact(downloads)} downloads`, () => this.files(id)));
    });
  }

  /** Ask the server, which asks the Hub; an answer that was overtaken is dropped. */
  async #ask(path, draw) {
    this.#latest += 1;
    const mine = this.#latest;
    this.#note.textContent = "Asking the Hub…";
    try {
      const { data } = await call("GET", path);
      if (mine === this.#latest) this.#list.replaceChildren(...draw(data));
    } catch (error) {
      if (mine !== this.#latest) return;
      this.#list.replaceChildren();
      this.#note.textContent = inWords(error);
    }
  }

  #row(name, about, choose) {
    return h("li", null, h("button", { type: "button", class: "button quiet found-one", click: choose }, h("span", { class: "break" }, name), h("span", { class: "muted" }, about)));
  }
}
