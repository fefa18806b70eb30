import { base, inWords, timed } from "./client.js";
import * as documents from "./documents.js";
import { choices, h, icon, notice, partsOf, template } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { feed } from "./feed.js";
import { exportRow } from "./exports.js";
import { fromNow, plural } from "./format.js";
import { served } from "./models.js";
import { announce, copy, toast } from "./notices.js";
import { CodeTabs } from "./playground_code.js";
import { failure, linkTwins, mark, spoken, takeDrops } from "./playground_parts.js";
import { forgetAll, forgotten, keepDraft, keepRun, keptDraft, keptRuns } from "./playground_store.js";
import { comparison, ranking } from "./results.js";
import { keyOf, whoAmI } from "./session.js";
import { pack, unpack } from "./share.js";
import { snippet } from "./snippets.js";

const MOST_BYTES = 8_000_000;
const MOST_LINK = 32_000;
const FIRST = { ...EXAMPLES[0], documents: EXAMPLES[0].documents.join("\n") };
const EMPTY = { query: "", documents: "", instruction: "", model: "", compare: "", overflow: "truncate", chunkTokens: "", passages: false, raw: false, topN: "" };

const example = () => ({ ...EMPTY, query: FIRST.query, documents: FIRST.documents });
const MOST_NUMBERED = 200;

/** What stands in the form, kept while other pages are looked at and over a reload. */
let draft = { ...example(), ...known(keptDraft() ?? {}) };
forgotten.addEventListener("forgotten", () => { draft = example(); });

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
  #code;
  #onFeed = () => this.#offerModels();
  #onHide = () => keepDraft(draft);

  constructor(parts) {
    this.#parts = parts;
    this.#code = new CodeTabs(parts, (language) => this.#codeIn(language));
    this.#wire();
  }

  async begin(argument) {
    this.#show(draft);
    this.#lastRun();
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
    // Not when somebody signs out: then nothing of theirs is to stay, in no tab.
    if (keyOf() || !whoAmI().keyed) keepDraft(draft);
    removeEventListener("pagehide", this.#onHide);
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
    parts.share.addEventListener("click", () => this.#share());
    parts.file.addEventListener("change", () => this.#read(parts.file.files[0]));
    takeDrops(parts.form, (file) => this.#read(file));
    addEventListener("pagehide", this.#onHide);
    parts.numbered.addEventListener("toggle", () => this.#showNumbered());
    parts.clear.addEventListener("click", () => this.#clear());
    parts.history.addEventListener("change", () => this.#showRun(Number(parts.history.value)));
    parts.examples.append(h("span", { class: "muted small" }, "Try"), ...EXAMPLES.map((example) =>
      h("button", { type: "button", class: "button compact", click: () => this.#take(example) }, example.name)));
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
    this.#showNumbered();
    const how = found.length && form !== "lines" ? `, ${form}` : "";
    parts.documentCount.textContent = plural(found.length, "document") + how;
    mark(parts.documents, parts.documentsFault, fault);
    mark(parts.query, parts.queryFault, null);
    parts.chunkField.hidden = draft.overflow !== "chunk";
    this.#showInstruction();
    this.#code.show();
  }

  /** The documents with the numbers that results name them by. */
  #showNumbered() {
    const { numbered, numberedList } = this.#parts;
    const { documents: found } = documents.parse(draft.documents);
    numbered.hidden = !found.length;
    if (!numbered.open) return;
    const rest = found.length - MOST_NUMBERED;
    numberedList.replaceChildren(...found.slice(0, MOST_NUMBERED).map((one) => h("li", { dir: "auto" }, documents.textOf(one))),
      ...(rest > 0 ? [h("li", { class: "muted" }, `and ${plural(rest, "more document")}`)] : []));
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
      // Of chunks, the best one is always marked: it is what the score comes from.
      ...((passages || overflow === "chunk") && { return_passages: true }),
    };
  }

  #codeIn(language) {
    return snippet(language, base, this.#body(draft.model), { keyed: whoAmI().keyed });
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
    if (ended.every((one) => one.reply)) keepRun(draft, ended);
    this.#offerRuns();
  }

  // What is kept

  /** Show the last run's answer again, where it is the answer to what stands in the form. */
  #lastRun() {
    this.#offerRuns();
    const [last] = keptRuns();
    if (last && JSON.stringify(last.draft) === JSON.stringify(draft)) this.#present(last.ended, { quiet: true });
    else this.#nothingYet();
  }

  #offerRuns() {
    const runs = keptRuns();
    this.#parts.kept.hidden = !runs.length;
    this.#parts.history.replaceChildren(h("option", { value: "" }, "Earlier runs"),
      ...runs.map((run, place) => h("option", { value: place }, `${run.draft.query.slice(0, 40)} · ${run.ended.map((one) => one.reply.model).join(", ")} · ${fromNow(run.time)}`)));
  }

  #showRun(place) {
    const run = keptRuns()[place];
    if (!run) return;
    draft = { ...EMPTY, ...known(run.draft) };
    this.#parts.model.value = draft.model;
    this.#parts.compare.value = draft.compare;
    this.#show(draft);
    this.#present(run.ended);
    this.#parts.history.value = "";
  }

  /** Back to the page as it opens for the first time; nothing of it stays in this browser. */
  #clear() {
    const { model } = draft;
    forgetAll();
    draft.model = model;
    this.#show(draft);
    this.#parts.compare.value = "";
    this.#nothingYet();
    this.#offerRuns();
    history.replaceState(null, "", "#playground");
    toast("Cleared: the form, the results and the earlier runs");
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

  #present(ended, { quiet = false } = {}) {
    const { answers, bench } = this.#parts;
    const first = ended[0].reply;
    const shown = ended.map((one, place) =>
      (one.error ? failure(one) : ranking(one, place > 0 ? first : null)));
    const both = ended.length === 2 && ended.every((one) => one.reply);
    answers.classList.toggle("two", ended.length === 2);
    bench.classList.toggle("comparing", ended.length === 2);
    const any = ended.some((one) => one.reply);
    answers.replaceChildren(...(any ? [exportRow(ended)] : []), ...(both ? [comparison(ended[0].reply, ended[1].reply)] : []), ...shown);
    if (ended.length === 2) linkTwins(answers);
    if (quiet) return;
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
