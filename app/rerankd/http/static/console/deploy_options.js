import { h } from "./dom.js";

const WORDS = { true: "yes", false: "no" };
const written = (value) => (value === "" ? "nothing" : WORDS[value] ?? String(value));

/**
 * Fields for every option of a deployment, with what each means and what counts without it.
 *
 * `known` are the server's `deployment_options`, `own` the deployment's values by name. Gives the
 * element and a function that reads the values that were set.
 */
export function optionFields(known, own = {}) {
  const fields = known.filter(({ name }) => name !== "as_family").map((option) => new OptionField(option, own[option.name]));
  const element = h("div", { class: "options" }, fields.map((field) => field.element));
  const read = () => Object.fromEntries(fields.map((field) => field.entry).filter(Boolean));
  return { element, read };
}

class OptionField {
  #option;
  #input;

  constructor(option, own) {
    this.#option = option;
    const id = `option-${option.name}`;
    this.#input = inputFor(option, own);
    Object.assign(this.#input, { id });
    this.#input.setAttribute("aria-describedby", `${id}-hint`);
    this.element = h("div", { class: "field" }, h("label", { for: id }, title(option.name)), this.#input,
      h("p", { class: "hint", id: `${id}-hint` }, `${option.help.charAt(0).toUpperCase()}${option.help.slice(1)}.`));
  }

  /** Its name and value, null where the server's own value is to count. */
  get entry() {
    const { name, kind } = this.#option;
    const text = this.#input.value.trim();
    if (!text) return null;
    if (kind === "bool") return [name, text === "true"];
    return [name, kind === "int" ? Number(text) : text];
  }
}

function inputFor({ name, kind, choices, value }, own) {
  const set = own === undefined ? "" : String(own);
  const words = kind === "bool" ? ["true", "false"] : choices;
  if (!words.length) {
    const type = kind === "int" ? "number" : "text";
    return h("input", { type, name, value: set, min: kind === "int" ? 0 : null, step: kind === "int" ? 1 : null, placeholder: `as the server: ${written(value)}`, autocomplete: "off", spellcheck: "false" });
  }
  const choice = (text, shown) => h("option", { value: text, selected: text === set }, shown);
  return h("select", { name }, choice("", `As the server: ${written(value)}`), words.map((word) => choice(word, written(word))));
}

const title = (name) => `${name.charAt(0).toUpperCase()}${name.slice(1).replaceAll("_", " ")}`.replace(/\bgpu\b/i, "GPU").replace("Kv", "KV");
