import { call, inWords } from "./client.js";
import { deploy, licence } from "./deploy.js";
import { badge, choices, disable, facts, h, icon, notice, partsOf, template } from "./dom.js";
import { BUSY, feed } from "./feed.js";
import { bytes, compact, count, plural } from "./format.js";
import { whyNotManage } from "./session.js";

const MANY = "mul";
const languages = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
const SORTS = {
  memory: (a, b) => a.memory_bytes - b.memory_bytes,
  parameters: (a, b) => a.parameters - b.parameters,
  context: (a, b) => b.context.trained - a.context.trained,
  title: (a, b) => a.title.localeCompare(b.title),
};
const MOST_LANGUAGES = 5;

const languageName = (code) => (code === MANY ? "many languages" : languages.of(code));

export function page() {
  const element = template("page-catalog");
  const parts = partsOf(element);
  let entries = [];
  const draw = () => list(parts, entries.filter(wanted(parts)).sort(SORTS[parts.sort.value]), entries.length);
  const onStates = () => entries.length && draw();
  parts.filters.addEventListener("input", draw);
  parts.filters.addEventListener("submit", (event) => event.preventDefault());
  parts.byHand.addEventListener("click", () => whyNotManage() || deploy());
  disable(parts.byHand, whyNotManage());
  feed.addEventListener("states", onStates);
  call("GET", "/v1/catalog").then(({ data }) => {
    entries = data;
    offer(parts, entries);
    draw();
  }, (error) => parts.trouble.replaceChildren(notice("bad", inWords(error))));
  return { element, title: "Catalog", leave: () => feed.removeEventListener("states", onStates) };
}

function offer(parts, entries) {
  const unique = (values) => [...new Set(values)].sort();
  const codes = unique(entries.flatMap((entry) => entry.languages)).filter((code) => code !== MANY);
  choices(parts.language, [["", "Any"], ...codes.map((code) => [code, languageName(code)])]);
  choices(parts.license, [["", "Any"], ...unique(entries.map((entry) => entry.license)).map((name) => [name, name])]);
}

/** Tell which models the filters let through. */
function wanted(parts) {
  const words = parts.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const language = parts.language.value;
  return (entry) => {
    const text = [entry.id, entry.title, entry.description, entry.family, entry.license, ...entry.aliases].join(" ").toLowerCase();
    return words.every((word) => text.includes(word))
      && (!language || entry.languages.includes(language) || entry.languages.includes(MANY))
      && (!parts.license.value || entry.license === parts.license.value)
      && (!parts.fits.checked || entry.fits === true)
      && (!parts.installed.checked || entry.installed);
  };
}

function list(parts, shown, all) {
  parts.found.textContent = shown.length === all ? plural(all, "model") : `${count(shown.length)} of ${plural(all, "model")}`;
  if (shown.length) return parts.list.replaceChildren(...shown.map(card));
  return parts.list.replaceChildren(h("li", { class: "empty" }, icon("search"), h("p", null, "No model in the catalog matches. You can also deploy your own file or one from the Hub.")));
}

function card(entry) {
  const heading = `model-${entry.id.replaceAll(/[^\w-]/g, "-")}`;
  return h("li", null, h("article", { class: "card model", "aria-labelledby": heading },
    h("div", null, h("h2", { id: heading }, entry.title), h("p", { class: "id mono" }, entry.id)),
    h("div", { class: "badges" }, fitting(entry), license(entry), entry.installed && badge("", "on this machine"), spoken(entry)),
    h("div", { class: "stack" },
      h("p", { class: "small" }, entry.description),
      facts([["Download", bytes(entry.bytes)], ["Memory", bytes(entry.memory_bytes)], ["Parameters", compact(entry.parameters)], ["Context", count(entry.context.trained)]]),
      quality(entry),
      details(entry)),
    h("div", { class: "model-foot" }, state(entry), action(entry, heading))));
}

function fitting({ fits, memory_bytes: needed }) {
  if (fits === null) return null;
  return fits
    ? badge("good", "fits here", "check")
    : badge("warn", `needs ${bytes(needed)}`, "alert");
}

const license = (entry) => badge(entry.needs_acceptance ? "warn" : "", entry.license, entry.needs_acceptance && "alert");

function spoken({ languages: codes }) {
  const names = codes.slice(0, MOST_LANGUAGES).map(languageName);
  const rest = codes.length - names.length;
  return [...names.map((name) => badge("", name)), rest > 0 && badge("", `and ${rest} more`)];
}

function quality({ quality: figures }) {
  return figures.length > 0 && h("div", null, figures.slice(0, 2).map(figure));
}

const figure = ({ benchmark, metric, value }) =>
  h("p", { class: "quality" }, h("span", { class: "muted" }, `${benchmark}, ${metric}`), h("b", null, value));

function details(entry) {
  const { warnings, quality: figures, variants } = entry;
  const points = [
    ...(entry.needs_acceptance ? [licence(entry)] : []),
    ...warnings,
    ...figures.map((one) => `${one.benchmark}, ${one.metric}: ${one.value}. Source: ${one.source}${one.note ? `. ${one.note}` : ""}.`),
  ];
  return h("details", null, h("summary", null, "Details"),
    h("div", { class: "stack" },
      points.length > 0 && h("ul", { class: "plain" }, points.map((text) => h("li", null, text))),
      h("div", { class: "table-wrap" }, h("table", null,
        h("thead", null, h("tr", null, ["File", "Size", "Memory"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", null, variants.map((variant) => h("tr", null, h("th", { scope: "row" }, variant.name), h("td", null, `${variant.exact ? "" : "about "}${bytes(variant.bytes)}`), h("td", null, bytes(variant.memory_bytes)))))))));
}

const deployed = (entry) => feed.list.find((status) => status.model === entry.id || status.source === entry.id);

function state(entry) {
  const found = deployed(entry)?.state ?? entry.state;
  if (!found) return h("span");
  if (found === "ready") return badge("good", "ready", "check");
  return badge(BUSY.has(found) ? "busy" : "", found, BUSY.has(found) && "clock");
}

function action(entry, heading) {
  if (deployed(entry)) return h("a", { class: "button", href: "#deployments", "aria-describedby": heading }, "See deployment");
  const why = whyNotManage();
  const button = h("button", { type: "button", class: "button primary", "aria-describedby": heading, click: () => why || deploy(entry) }, "Deploy");
  disable(button, why);
  return button;
}
