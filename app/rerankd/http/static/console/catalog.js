import { call, inWords } from "./client.js";
import { deploy, licence } from "./deploy.js";
import { confirm } from "./dialogs.js";
import { badge, choices, disable, facts, h, icon, notice, partsOf, template } from "./dom.js";
import { BUSY, feed } from "./feed.js";
import { bytes, compact, count, plural } from "./format.js";
import { markBadge } from "./marks.js";
import { toast } from "./notices.js";
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

/** The names that people search for a model by, in lower case. */
const namesOf = (entry) => [entry.id, entry.title, ...entry.aliases].map((name) => name.toLowerCase());

/** How well a model is what was typed: 0 for its very name, then for a name's beginning, a part. */
function distance(entry, typed) {
  const names = namesOf(entry).flatMap((name) => [name, name.slice(name.lastIndexOf("/") + 1)]);
  const fits = [(name) => name === typed, (name) => name.startsWith(typed), (name) => name.includes(typed)];
  const best = fits.findIndex((fit) => names.some(fit));
  return best < 0 ? fits.length : best;
}

/** While somebody searches, the best match comes first; the chosen order decides between equals. */
function order(parts) {
  const typed = parts.search.value.trim().toLowerCase();
  const chosen = SORTS[parts.sort.value];
  return typed ? (a, b) => distance(a, typed) - distance(b, typed) || chosen(a, b) : chosen;
}

const languageName = (code) => (code === MANY ? "many languages" : languages.of(code));

/** Ask for the catalog again, on the page that is shown. */
let refresh = () => {};

export function page() {
  const element = template("page-catalog");
  const parts = partsOf(element);
  let entries = [];
  const draw = () => list(parts, entries.filter(wanted(parts)).sort(order(parts)), entries.length);
  const onStates = () => entries.length && draw();
  parts.filters.addEventListener("input", draw);
  parts.filters.addEventListener("submit", (event) => event.preventDefault());
  parts.byHand.addEventListener("click", () => whyNotManage() || deploy());
  disable(parts.byHand, whyNotManage());
  feed.addEventListener("states", onStates);
  refresh = () => call("GET", "/v1/catalog").then(({ data }) => {
    entries = data;
    offer(parts, entries);
    draw();
  }, (error) => parts.trouble.replaceChildren(notice("bad", inWords(error))));
  refresh();
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
    h("div", { class: "model-foot" }, state(entry), h("div", { class: "actions" }, removal(entry, heading), action(entry, heading)))));
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

/** Benchmarks that many models have been measured with come first: they are what compares them. */
const WELL_KNOWN = ["MTEB English v2 reranking", "BEIR", "MIRACL", "MMTEB-R", "MTEB-R", "TREC DL 2019", "MS MARCO dev"];
const fame = ({ benchmark }) => (WELL_KNOWN.indexOf(benchmark) + 1 || WELL_KNOWN.length + 1);

function quality({ quality: figures }) {
  const first = [...figures].sort((a, b) => fame(a) - fame(b)).slice(0, 2);
  return figures.length > 0 && h("div", null, first.map(figure));
}

/** All figures are shown on one scale, to 100; makers publish shares and percents. */
const scaled = ({ value }) => (value <= 1 ? 100 * value : value).toFixed(1);
const metricOf = ({ metric }) => metric.replace(/, percent$/, "");

const figure = (one) =>
  h("p", { class: "quality", title: "On a scale to 100; see the details for the source" },
    h("span", { class: "muted" }, `${one.benchmark}, ${metricOf(one)}`), h("b", null, scaled(one)));

function details(entry) {
  const { warnings, quality: figures, variants } = entry;
  const points = [
    ...(entry.needs_acceptance ? [licence(entry)] : []),
    ...warnings,
    ...figures.map((one) => `${one.benchmark}, ${metricOf(one)}: ${scaled(one)} of 100. Source: ${one.source}${one.note ? `. ${one.note}` : ""}.`),
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
  if (found === "ready") return h("span", { class: "badges" }, badge("good", "ready", "check"), (deployed(entry)?.marks ?? []).map(markBadge));
  return badge(BUSY.has(found) ? "busy" : "", found, BUSY.has(found) && "clock");
}

/** Delete what was downloaded or converted, once no deployment uses it; the embedded model stays. */
function removal(entry, heading) {
  const here = entry.variants.some((variant) => variant.installed && (variant.repo || variant.checkpoint));
  if (!here || whyNotManage() || (deployed(entry) && !["absent", "failed"].includes(deployed(entry).state))) return null;
  return h("button", { type: "button", class: "button danger", "aria-describedby": heading, click: () => remove(entry) }, "Delete files");
}

async function remove(entry) {
  const text = "All its files are deleted from the server. Deploying it again downloads or converts them again.";
  if (!(await confirm(`Delete the files of ${entry.title}?`, text, "Delete"))) return;
  try {
    const { freed_bytes: freed } = await call("DELETE", `/v1/files?model=${encodeURIComponent(entry.id)}`);
    toast(`${entry.title}: ${bytes(freed)} freed`);
  } catch (error) {
    toast(inWords(error));
  }
  refresh();
}

function action(entry, heading) {
  if (deployed(entry)) return h("a", { class: "button", href: "#deployments", "aria-describedby": heading }, "See deployment");
  const why = whyNotManage();
  const button = h("button", { type: "button", class: "button primary", "aria-describedby": heading, click: () => why || deploy(entry) }, "Deploy");
  disable(button, why);
  return button;
}
