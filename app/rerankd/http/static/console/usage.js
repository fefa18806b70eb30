import { call, inWords } from "./client.js";
import { chart } from "./charts.js";
import { choices, h, icon, notice, partsOf, template } from "./dom.js";
import { compact, count, milliseconds } from "./format.js";
import { whyNotManage } from "./session.js";

const REFRESH = 10_000;
const ALL = "*";
const COUNTS = ["requests", "documents", "tokens", "errors", "cached"];
const NAMES = { requests: "Requests", documents: "Documents", tokens: "Tokens", errors: "Errors", cached: "Cache hits" };

export function page() {
  const element = template("page-usage");
  const parts = partsOf(element);
  const why = whyNotManage();
  if (why) {
    parts.trouble.append(notice("warn", why));
    return { element, title: "Usage" };
  }
  const board = new Board(parts);
  parts.filters.addEventListener("submit", (event) => event.preventDefault());
  parts.window.addEventListener("change", () => board.load());
  parts.model.addEventListener("change", () => board.draw());
  parts.key.addEventListener("change", () => board.draw());
  const timer = setInterval(() => document.hidden || board.refresh(), REFRESH);
  board.load();
  return { element, title: "Usage", leave: () => clearInterval(timer) };
}

class Board {
  #parts;
  #report = null;
  #names = new Map();

  constructor(parts) {
    this.#parts = parts;
  }

  async load() {
    try {
      const [report, keys] = await Promise.all([
        call("GET", `/v1/usage?window=${this.#parts.window.value}`),
        call("GET", "/v1/keys").catch(() => ({ data: [] })),
      ]);
      this.#report = report;
      this.#names = new Map(keys.data.map((key) => [key.id, key.name]));
      this.#parts.trouble.replaceChildren();
      this.#offer();
      this.draw();
    } catch (error) {
      this.#parts.trouble.replaceChildren(notice("bad", inWords(error)));
    }
  }

  /** Load again unless somebody reads a chart or a table just now. */
  refresh() {
    const { charts } = this.#parts;
    if (!charts.contains(document.activeElement) && !charts.querySelector("details[open], svg:hover")) this.load();
  }

  draw() {
    const { model, key } = this.#parts;
    const chosen = this.#report.series.filter((one) =>
      [ALL, one.model].includes(model.value) && [ALL, one.key].includes(key.value));
    const filtered = chosen.length !== this.#report.series.length;
    const sum = totals(chosen, filtered ? null : this.#report.totals);
    this.#parts.tiles.replaceChildren(...tiles(sum));
    this.#parts.charts.replaceChildren(...charts(this.#report, chosen, sum));
    this.#parts.table.replaceChildren(table(this.#report.series, (id) => this.#nameOf(id)));
  }

  #offer() {
    const { series } = this.#report;
    const unique = (name) => [...new Set(series.map((one) => one[name]))].sort();
    choices(this.#parts.model, [[ALL, "All"], ...unique("model").map((id) => [id, id || "unknown model"])]);
    choices(this.#parts.key, [[ALL, "All"], ...unique("key").map((id) => [id, this.#nameOf(id)])]);
  }

  #nameOf(id) {
    return id ? this.#names.get(id) ?? id : "no key";
  }
}

/** Sums of a few series; their percentiles are known exactly for one, or where they are given. */
function totals(series, given) {
  const sums = Object.fromEntries(COUNTS.map((name) =>
    [name, series.flatMap((one) => one.buckets).reduce((sum, bucket) => sum + bucket[name], 0)]));
  const latency = given ?? latencyOf(series.flatMap((one) => one.buckets));
  return { ...sums, p50_ms: latency.p50_ms, p95_ms: latency.p95_ms };
}

/** Percentiles of percentiles don't exist: the median is weighted by requests, p95 is the worst. */
function latencyOf(buckets) {
  const known = buckets.filter((bucket) => bucket.p50_ms !== null && bucket.requests > 0);
  const requests = known.reduce((sum, bucket) => sum + bucket.requests, 0);
  if (!requests) return { p50_ms: null, p95_ms: null };
  const weighted = known.reduce((sum, bucket) => sum + bucket.p50_ms * bucket.requests, 0);
  return { p50_ms: weighted / requests, p95_ms: Math.max(...known.map((bucket) => bucket.p95_ms)) };
}

const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(part && part < whole / 100 ? 2 : 0)} %` : "–");
const spent = (value) => (value === null ? "–" : milliseconds(value));

function tiles(sum) {
  const shown = [
    ["Requests", compact(sum.requests)], ["Documents", compact(sum.documents)], ["Tokens", compact(sum.tokens)],
    ["Median time", spent(sum.p50_ms)], ["95th percentile", spent(sum.p95_ms)],
    ["Errors", share(sum.errors, sum.requests)], ["From the cache", share(sum.cached, sum.documents)],
  ];
  return shown.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)));
}

function charts(report, series, sum) {
  const step = report.step_seconds;
  const steps = Math.round((report.end - report.begin) / step);
  const times = Array.from({ length: steps }, (_, place) => report.begin + place * step);
  const buckets = new Map(times.map((time) => [time, []]));
  for (const bucket of series.flatMap((one) => one.buckets)) buckets.get(bucket.time)?.push(bucket);
  const each = (value) => times.map((time) => value(buckets.get(time)));
  const sums = (name) => each((found) => found.reduce((total, bucket) => total + bucket[name], 0));
  const counted = (name) => chart({
    title: NAMES[name], times, step, form: "columns", write: compact,
    lines: [{ name: NAMES[name], kind: "", values: sums(name), total: count(sum[name]) }],
  });
  const timesTaken = chart({
    title: "Request time", times, step, form: "lines", write: milliseconds,
    lines: [{ name: "median", kind: "p50", values: each((found) => latencyOf(found).p50_ms), total: spent(sum.p50_ms) },
      { name: "p95", kind: "p95", values: each((found) => latencyOf(found).p95_ms), total: spent(sum.p95_ms) }],
  });
  return [counted("requests"), timesTaken, ...["documents", "tokens", "cached", "errors"].map(counted)];
}

const COLUMNS = ["Requests", "Documents", "Tokens", "Cache hits", "Errors", "Median", "p95"];

function table(series, nameOf) {
  if (!series.length) return nothing();
  return h("div", { class: "table-wrap" }, h("table", { class: "stacks" },
    h("caption", { class: "visually-hidden" }, "Usage by model and key"),
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Model"), h("th", { scope: "col" }, "Key"), COLUMNS.map((name) => h("th", { scope: "col", class: "amount" }, name)))),
    h("tbody", null, series.map((one) => row(one, nameOf)))));
}

const nothing = () => h("div", { class: "empty" }, icon("usage"), h("p", null, "No requests in this period. Rank something in the playground, or choose a longer time."),
  h("a", { class: "button primary", href: "#playground" }, "Open the playground"));

function row(one, nameOf) {
  const sum = totals([one], null);
  const cells = [count(sum.requests), count(sum.documents), count(sum.tokens), count(sum.cached), count(sum.errors), spent(sum.p50_ms), spent(sum.p95_ms)];
  return h("tr", null, h("th", { scope: "row" }, one.model || "unknown model"), h("td", { "data-label": "Key" }, nameOf(one.key)),
    cells.map((text, column) => h("td", { class: "amount", "data-label": COLUMNS[column] }, text)));
}
