import { inWords } from "./client.js";
import { h, icon, notice } from "./dom.js";
import { exportRow } from "./exports.js";
import { announce } from "./notices.js";
import { failure, linkTwins, spoken } from "./playground_parts.js";
import { comparison, ranking } from "./results.js";

/** The half of the playground that shows what came of a request. */
export class Answers {
  #place;
  #bench;
  #button;

  constructor({ answers, bench, run }) {
    this.#place = answers;
    this.#bench = bench;
    this.#button = run;
  }

  busy(on) {
    for (const one of [this.#button, this.#place]) one.setAttribute("aria-busy", String(on));
  }

  /** Show one ranking or two side by side, and what became of those that failed. */
  present(ended, { quiet = false } = {}) {
    const first = ended[0].reply;
    const shown = ended.map((one, place) =>
      (one.error ? failure(one) : ranking(one, place > 0 ? first : null)));
    const two = ended.length === 2;
    this.#place.classList.toggle("two", two);
    this.#bench.classList.toggle("comparing", two);
    const any = ended.some((one) => one.reply);
    const both = two && ended.every((one) => one.reply?.results.length);
    this.#place.replaceChildren(...(any ? [exportRow(ended)] : []), ...(both ? [comparison(ended[0].reply, ended[1].reply)] : []), ...shown);
    if (two) linkTwins(this.#place);
    if (quiet) return;
    announce(ended.map(spoken).join(" "));
    if (this.#place.getBoundingClientRect().top > innerHeight * 0.5) this.#place.scrollIntoView();
  }

  fail(error) {
    this.#place.replaceChildren(h("div", { role: "alert" }, notice("bad", inWords(error))));
  }

  nothingYet() {
    this.#place.replaceChildren(h("div", { class: "empty" }, icon("play"),
      h("p", null, "The ranking appears here, with scores, changes from your order, tokens and times.")));
  }

  noModels() {
    this.#place.replaceChildren(h("div", { class: "empty" }, icon("deployments"),
      h("p", null, "No model is deployed yet."), h("a", { class: "button primary", href: "#catalog" }, "Choose one from the catalog")));
  }
}
