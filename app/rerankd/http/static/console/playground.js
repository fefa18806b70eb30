import { base, inWords, timed } from "./client.js";
import { codeBlock } from "./code_block.js";
import * as documents from "./documents.js";
import { choices, h, icon, notice, partsOf, template } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { feed } from "./feed.js";
import { plural } from "./format.js";
import { served } from "./models.js";
import { announce, copy, toast } from "./notices.js";
import { comparison, ranking } from "./results.js";
import { whoAmI } from "./session.js";
import { pack, unpack } from "./share.js";
import { LANGUAGES, snippet } from "./snippets.js";

const MOST_BYTES = 8_000_000;
const MOST_LINK = 32_000;
const FIRST = { ...EXAMPLES[0], documents: EXAMPLES[0].documents.join("\n") };
const EMPTY = { query: "", documents: "", instruction: "", model: "", compare: "", overflow: "truncate", chunkTokens: "", passages: false, raw: false, topN: "" };

/** What stands in the form, kept while other pages are looked at. */
let draft = { ...EMPTY, query: FIRST.query, documents: FIRST.documents };

export function page(argument) {
  const element = template("page-playground");
  const bench = new Bench(partsOf(element));
  bench.begin(argument);
  return { element, title: "Playground", leave: () => bench.end() };
}

class Bench {
  #parts;
  #models = [];
  #running = null;
  #language = "curl";
  #code = codeBlock("Request", "");
  #onFeed = () => this.#offerModels();

  constructor(parts) {
    this.#parts = parts;
    parts.snippet.append(this.#code.element);
    this.#wire();
  }

  async begin(argument) {
    this.#show(draft);
    this.#nothingYet();
    feed.addEventListener("states", this.#onFeed);
    const [kind, value] = argument.split("=", 2);
    if (kind === "model") draft.model = decodeURIComponent(value);
    const shared = kind === "s" && (await unpack(value));
    if (shared) draft = { ...EMPTY, ...known(shared) };
    else if (kind === "s") toast("This link does not contain a readable request");
    this.#show(draft);
    await this.#offerModels();
    if (shared) this.#run();
  }

  end() {
    feed.removeEventListener("states", this.#onFeed);
    this.#running?.abort();
  }

  #wire() {
    const parts = this.#parts;
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#run();
    });
    parts.form.addEventListener("input", () => this.#changed());
    parts.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#run();
    });
    parts.code.addEventListener("toggle", () => this.#showCode());
    parts.share.addEventListener("click", () => this.#share());
    parts.file.addEventListener("change", () => this.#read(parts.file.files[0]));
    this.#takeDrops(parts.form);
    parts.examples.append(h("span", { class: "muted small" }, "Try"), ...EXAMPLES.map((example) =>
      h("button", { type: "button", class: "button compact", click: () => this.#take(example) }, example.name)));
    this.#offerLanguages();
  }

  // The form

  #show(state) {
    const { query, documents: texts, instruction, overflow, chunkTokens, topN, passages, raw } = this.#parts;
    query.value = state.query;
    texts.value = state.documents;
    instruction.value = state.instruction;
    overflow.value = state.overflow;
    chunkTokens.value = state.chunkTokens;
    topN.value = state.topN;
    passages.checked = state.passages;
    raw.checked = state.raw;
    this.#changed();
  }

  #changed() {
    const parts = this.#parts;
    draft = {
      query: parts.query.value,
      documents: parts.documents.value,
      instruction: parts.instruction.value,
      model: parts.model.value || draft.model,
      compare: parts.model.options.length ? parts.compare.value : draft.compare,
      overflow: parts.overflow.value,
      chunkTokens: parts.chunkTokens.value,
      passages: parts.passages.checked,
      raw: parts.raw.checked,
      topN: parts.topN.value,
    };
    const { documents: found, form, fault } = documents.parse(draft.documents);
    const how = found.length && form !== "lines" ? `, ${form}` : "";
    parts.documentCount.textContent = plural(found.length, "document") + how;
    mark(parts.documents, parts.documentsFault, fault);
    mark(parts.query, parts.queryFault, null);
    parts.chunkField.hidden = draft.overflow !== "chunk";
    this.#showInstruction();
    this.#showCode();
  }

  #showInstruction() {
    const taking = [draft.model, draft.compare].map((id) => this.#models.find((one) => one.id === id));
    this.#parts.instructionField.hidden = !taking.some((model) => model?.facts?.takes_instruction);
  }

  #take(example) {
    const texts = example.documents.join("\n");
    const chunked = example.overflow === "chunk";
    draft = { ...draft, query: example.query, documents: texts, overflow: example.overflow ?? "truncate", chunkTokens: example.chunkTokens ?? "", passages: chunked };
    this.#show(draft);
    this.#run();
  }

  async #read(file) {
    if (!file) return;
    if (file.size > MOST_BYTES) return void toast("This file is too large for the playground");
    this.#parts.documents.value = await file.text();
    this.#parts.file.value = "";
    this.#changed();
    announce(`${file.name}: ${this.#parts.documentCount.textContent}`);
  }

  #takeDrops(form) {
    const over = (event, on) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      form.classList.toggle("dropping", on);
    };
    form.addEventListener("dragover", (event) => over(event, true));
    form.addEventListener("dragleave", (event) => over(event, false));
    form.addEventListener("drop", (event) => {
      over(event, false);
      this.#read(event.dataTransfer?.files[0]);
    });
  }

  async #offerModels() {
    try {
      this.#models = await served();
    } catch (error) {
      if (error.status !== 401) this.#fail(error);
      return;
    }
    const named = this.#models.map((model) => [model.id, model.state === "ready" ? model.id : `${model.id} (${model.state})`]);
    choices(this.#parts.model, named);
    choices(this.#parts.compare, [["", "Nothing"], ...named]);
    for (const part of ["model", "compare"]) {
      if (named.some(([id]) => id === draft[part])) this.#parts[part].value = draft[part];
    }
    this.#changed();
    if (!named.length) this.#noModels();
  }

  // Code and links

  #body(model) {
    const { topN, raw, overflow, chunkTokens, passages, instruction, query } = draft;
    return {
      ...(model && { model }),
      query,
      documents: documents.parse(draft.documents).documents,
      ...(instruction && !this.#parts.instructionField.hidden && { instruction }),
      ...(Number(topN) > 0 && { top_n: Number(topN) }),
      ...(raw && { raw_scores: true }),
      ...(overflow !== "truncate" && { overflow }),
      ...(overflow === "chunk" && Number(chunkTokens) > 0 && { chunk_tokens: Number(chunkTokens) }),
      ...(passages && { return_passages: true }),
    };
  }

  #offerLanguages() {
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
      this.#showCode();
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

  #showCode() {
    if (!this.#parts.code.open) return;
    const { keyed } = whoAmI();
    this.#code.set(snippet(this.#language, base, this.#body(draft.model), { keyed }));
  }

  async #share() {
    const link = `${location.origin}${location.pathname}#playground/s=${await pack(draft)}`;
    if (link.length > MOST_LINK) return void toast("This request is too long for a link");
    history.replaceState(null, "", link);
    await copy(link, "Link");
  }

  // Running

  async #run() {
    if (!this.#complete()) return;
    this.#running?.abort();
    this.#running = new AbortController();
    const { signal } = this.#running;
    const chosen = [draft.model, draft.compare].filter((id, place, all) => place === 0 || (id && id !== all[0]));
    this.#busy(true);
    const asked = chosen.map((id) => this.#body(id));
    const ended = await Promise.all(asked.map((body) => this.#one(body, signal)));
    if (signal.aborted) return;
    this.#busy(false);
    this.#present(ended);
  }

  async #one(body, signal) {
    try {
      return { body, ...(await timed("POST", "/v1/rerank", { body, signal })) };
    } catch (error) {
      return { body, error };
    }
  }

  #complete() {
    const parts = this.#parts;
    const { documents: found, fault } = documents.parse(draft.documents);
    const missing = found.length ? fault : fault ?? "Enter at least one document";
    mark(parts.documents, parts.documentsFault, missing);
    mark(parts.query, parts.queryFault, draft.query.trim() ? null : "Enter a query");
    const wrong = [parts.query, parts.documents].find((one) => one.getAttribute("aria-invalid"));
    wrong?.focus();
    return !wrong;
  }

  #busy(on) {
    this.#parts.run.setAttribute("aria-busy", String(on));
    this.#parts.answers.setAttribute("aria-busy", String(on));
  }

  #present(ended) {
    const { answers } = this.#parts;
    const first = ended[0].reply;
    const shown = ended.map((one, place) =>
      (one.error ? failure(one) : ranking(one, place > 0 ? first : null)));
    const both = ended.length === 2 && ended.every((one) => one.reply);
    answers.classList.toggle("two", ended.length === 2);
    answers.replaceChildren(...(both ? [comparison(ended[0].reply, ended[1].reply)] : []), ...shown);
    if (ended.length === 2) linkTwins(answers);
    announce(ended.map(spoken).join(" "));
    if (answers.getBoundingClientRect().top > innerHeight * 0.5) answers.scrollIntoView();
  }

  #fail(error) {
    this.#parts.answers.replaceChildren(h("div", { role: "alert" }, notice("bad", inWords(error))));
  }

  #nothingYet() {
    this.#parts.answers.replaceChildren(h("div", { class: "empty" }, icon("play"),
      h("p", null, "The ranking appears here, with scores, changes from your order, tokens and times.")));
  }

  #noModels() {
    this.#parts.answers.replaceChildren(h("div", { class: "empty" }, icon("deployments"),
      h("p", null, "No model is deployed yet."), h("a", { class: "button primary", href: "#catalog" }, "Choose one from the catalog")));
  }
}

function known(state) {
  return Object.fromEntries(Object.entries(state).filter(([name, value]) =>
    name in EMPTY && typeof value === typeof EMPTY[name]));
}

function mark(field, place, fault) {
  if (fault) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
  place.hidden = !fault;
  place.textContent = fault ?? "";
}

function failure({ body, error }) {
  return h("div", { role: "alert" }, notice("bad", h("strong", null, `${body.model ?? "Request"}: `), inWords(error)));
}

function spoken({ reply, error }) {
  if (error) return inWords(error);
  const [best] = reply.results;
  return `${reply.model}: ${plural(reply.results.length, "result")}, best is document ${best.index + 1}.`;
}

/** Light up a document in both rankings when one of them is pointed at. */
function linkTwins(answers) {
  answers.onpointerover = (event) => {
    const index = event.target.closest?.("[data-index]")?.dataset.index;
    for (const row of answers.querySelectorAll("[data-index]")) {
      row.classList.toggle("twin", row.dataset.index === index);
    }
  };
}
