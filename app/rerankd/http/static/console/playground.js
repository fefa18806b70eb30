import { base, timed } from "./client.js";
import { h, partsOf, template } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { feed } from "./feed.js";
import { fromNow } from "./format.js";
import { served } from "./models.js";
import { copy, toast } from "./notices.js";
import * as pictures from "./pictures.js";
import { Answers } from "./playground_answers.js";
import { CodeTabs } from "./playground_code.js";
import { bodyOf, EMPTY, example, known, picturesOf } from "./playground_draft.js";
import { FileIntake } from "./playground_files.js";
import { RequestForm } from "./playground_form.js";
import { forgetAll, forgotten, keepDraft, keepRun, keptDraft, keptRuns } from "./playground_store.js";
import { keyOf, whoAmI } from "./session.js";
import { pack, unpack } from "./share.js";
import { snippet } from "./snippets.js";

const MOST_LINK = 32_000;

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
  #form;
  #answers;
  #files;
  #code;
  #running = null;
  #onFeed = () => this.#offerModels();
  #onHide = () => keepDraft(draft);

  constructor(parts) {
    this.#parts = parts;
    this.#form = new RequestForm(parts, (id) => this.#remove(id));
    this.#answers = new Answers(parts);
    this.#code = new CodeTabs(parts, (language) => snippet(language, base, this.#body(draft.model), { keyed: whoAmI().keyed }));
    this.#files = new FileIntake(parts, {
      onText: (text) => this.#change({ documents: text }),
      onPicture: (picture, forQuery) => this.#change(forQuery ? { queryPicture: picture.id } : { pictures: [...draft.pictures, picture.id] }),
      room: () => draft.pictures.length,
    });
    this.#wire();
  }

  async begin(argument) {
    this.#show();
    feed.addEventListener("states", this.#onFeed);
    const [kind, value] = argument.split("=", 2);
    if (kind === "model") draft.model = decodeURIComponent(value);
    await this.#reopen();
    this.#lastRun();
    const shared = kind === "s" && (await unpack(value));
    if (shared) draft = { ...EMPTY, ...known(shared) };
    else if (kind === "s") toast("This link does not contain a readable request");
    this.#show();
    await this.#offerModels();
    if (shared) this.#run();
  }

  end() {
    feed.removeEventListener("states", this.#onFeed);
    // Not when somebody signs out: then nothing of theirs is to stay, in no tab.
    if (keyOf() || !whoAmI().keyed) keepDraft(draft);
    removeEventListener("pagehide", this.#onHide);
    this.#files.end();
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
    addEventListener("pagehide", this.#onHide);
    parts.clear.addEventListener("click", () => this.#clear());
    parts.history.addEventListener("change", () => this.#showRun(Number(parts.history.value)));
    parts.examples.append(h("span", { class: "muted small" }, "Try"), ...EXAMPLES.map((one) =>
      h("button", { type: "button", class: "button compact", click: () => this.#take(one) }, one.name)));
  }

  // The form

  #show() {
    this.#form.fill(draft);
    this.#changed();
  }

  #changed() {
    draft = this.#form.read(draft);
    this.#form.show(draft);
    this.#code.show();
  }

  #change(some) {
    draft = { ...draft, ...some };
    this.#show();
  }

  #take({ query, documents: texts, overflow = "truncate", chunkTokens = "" }) {
    this.#change({ query, documents: texts.join("\n"), pictures: [], queryPicture: "", overflow, chunkTokens, passages: overflow === "chunk" });
    this.#run();
  }

  #remove(id) {
    this.#change({ pictures: draft.pictures.filter((one) => one !== id), queryPicture: draft.queryPicture === id ? "" : draft.queryPicture });
  }

  async #offerModels() {
    let models;
    try {
      models = await served();
    } catch (error) {
      if (error.status !== 401) this.#answers.fail(error);
      return;
    }
    this.#form.offer(models, draft);
    this.#changed();
    if (!models.length) this.#answers.noModels();
  }

  // Running

  #body(model) {
    return bodyOf(draft, model, { instructed: this.#form.instructed });
  }

  async #run() {
    if (!this.#form.isComplete(draft)) return;
    this.#running?.abort();
    this.#running = new AbortController();
    const { signal } = this.#running;
    const asked = draft;
    const chosen = [draft.model, draft.compare].filter((id, place, all) => place === 0 || (id && id !== all[0]));
    this.#answers.busy(true);
    const bodies = chosen.map((id) => this.#body(id));
    const ended = await Promise.all(bodies.map((body) => ranked(body, signal)));
    if (signal.aborted) return;
    this.#answers.busy(false);
    this.#answers.present(ended);
    if (ended.every((one) => one.reply)) keepRun(asked, ended);
    this.#offerRuns();
    this.#keepPictures();
  }

  async #share() {
    const hadPictures = picturesOf(draft).length > 0;
    const link = `${location.origin}${location.pathname}#playground/s=${await pack({ ...draft, pictures: [], queryPicture: "" })}`;
    if (link.length > MOST_LINK) return void toast("This request is too long for a link");
    history.replaceState(null, "", link);
    await copy(link, hadPictures ? "Link without the pictures" : "Link");
  }

  // What is kept

  /** Open the pictures that were kept; of those that are gone, nothing is said any more. */
  async #reopen() {
    const ids = [draft, ...keptRuns().map((run) => run.draft)].flatMap(picturesOf);
    const there = new Set(await pictures.reopen([...new Set(ids)]));
    draft = { ...draft, pictures: draft.pictures.filter((id) => there.has(id)), queryPicture: there.has(draft.queryPicture) ? draft.queryPicture : "" };
  }

  #keepPictures() {
    pictures.keepOnly([...new Set([draft, ...keptRuns().map((run) => run.draft)].flatMap(picturesOf))]);
  }

  /** Show the last run's answer again, where it is the answer to what stands in the form. */
  #lastRun() {
    this.#offerRuns();
    const [last] = keptRuns();
    if (last && JSON.stringify({ ...EMPTY, ...last.draft }) === JSON.stringify(draft)) this.#answers.present(last.ended, { quiet: true });
    else this.#answers.nothingYet();
  }

  #offerRuns() {
    const runs = keptRuns();
    this.#parts.kept.hidden = !runs.length;
    this.#parts.history.replaceChildren(h("option", { value: "" }, "Earlier runs"),
      ...runs.map((run, place) => h("option", { value: place }, `${run.draft.query.slice(0, 40) || "a picture"} · ${run.ended.map((one) => one.reply.model).join(", ")} · ${fromNow(run.time)}`)));
  }

  #showRun(place) {
    const run = keptRuns()[place];
    if (!run) return;
    draft = { ...EMPTY, ...known(run.draft) };
    this.#parts.model.value = draft.model;
    this.#parts.compare.value = draft.compare;
    this.#show();
    this.#answers.present(run.ended);
    this.#parts.history.value = "";
  }

  /** Back to the page as it opens for the first time; nothing of it stays in this browser. */
  #clear() {
    const { model } = draft;
    forgetAll();
    draft.model = model;
    this.#show();
    this.#parts.compare.value = "";
    this.#answers.nothingYet();
    this.#offerRuns();
    history.replaceState(null, "", "#playground");
    toast("Cleared: the form, the results and the earlier runs");
  }
}

async function ranked(body, signal) {
  try {
    return { body, ...(await timed("POST", "/v1/rerank", { body: await pictures.withPictures(body), signal })) };
  } catch (error) {
    return { body, error };
  }
}
