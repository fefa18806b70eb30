import { badge, h, icon, notice, sized } from "./dom.js";
import { cut, textOf } from "./documents.js";
import { count, milliseconds, plural, score } from "./format.js";
import { scaledTo, sizesIn } from "./picture_facts.js";
import { labelOf, pictureIn, thumbnail } from "./thumbnails.js";

const AROUND = 140;
const LONG = 280;
const MOST_ROWS = 200;
const STAGES = [["tokenize", "tokenise"], ["queue", "queue"], ["engine", "engine"]];

/** One model's ranking: a list with bars, and what it cost. `against` is another ranking, or null. */
export function ranking({ body, reply, milliseconds: seen }, against) {
  const heading = `answer-${reply.id}`;
  const asked = pictureIn(body.query);
  return h("section", { class: "card answer", "aria-labelledby": heading },
    h("div", { class: "answer-head" },
      h("h2", { id: heading }, reply.model),
      asked && h("p", { class: "asked" }, thumbnail(asked), h("span", null, "asked with ", asked.name)),
      figures(body, reply, seen),
      timing(reply.meta.timings),
      (reply.meta.warnings ?? []).map((text) => notice("warn", text))),
    rows(body, reply, against));
}

function figures(body, reply, seen) {
  const { meta, usage } = reply;
  const some = (value, text) => value > 0 && h("span", null, h("b", null, count(value)), ` ${text}`);
  return h("p", { class: "figures" },
    some(body.documents.length, body.documents.length === 1 ? "document" : "documents"),
    some(usage.total_tokens, "tokens"),
    some(usage.prompt_tokens_details?.image_tokens, "of them for pictures"),
    meta.chunks > body.documents.length && some(meta.chunks, "chunks"),
    some(meta.cached, "from the cache"),
    h("span", null, h("b", null, milliseconds(meta.timings.total_ms)), ` on the ${meta.device.toUpperCase()}`),
    h("span", null, `${milliseconds(seen)} round trip`),
    meta.truncated.length > 0 && badge("warn", `${plural(meta.truncated.length, "document")} truncated`, "scissors"),
    meta.query_truncated && badge("warn", "query truncated", "scissors"),
    meta.partial && badge("warn", `${plural(meta.partial.unscored, "document")} not scored in time`),
    meta.below_min_score > 0 && badge("", `${plural(meta.below_min_score, "document")} below min_score`),
    meta.score_scale === "logit" && badge("", "raw scores"),
    meta.score_scale === "calibrated" && badge("", "calibrated"));
}

function timing(timings) {
  const stages = STAGES.map(([id, name]) => [id, name, timings[`${id}_ms`]]);
  const total = Math.max(timings.total_ms, 0.001);
  return h("div", { class: "timing" },
    h("div", { class: "segments", "aria-hidden": "true" }, stages.map(([id, , spent]) =>
      sized(h("span", { class: `segment ${id}` }), (100 * spent) / total))),
    h("p", { class: "legend" }, stages.map(([id, name, spent]) =>
      h("span", null, h("i", { class: id, "aria-hidden": "true" }), `${name} ${milliseconds(spent)}`))));
}

function rows(body, reply, against) {
  const scores = reply.results.map((result) => result.relevance_score ?? 0);
  const upToOne = reply.meta.score_scale !== "logit";
  const low = Math.min(0, ...scores);
  const high = upToOne ? 1 : Math.max(0, ...scores);
  const scale = { low, width: high - low || 1, name: reply.meta.score_scale };
  const cutOnes = new Set(reply.meta.truncated);
  const places = against && new Map(against.results.map((result, place) => [result.index, place]));
  const sizes = sizesIn(reply.meta);
  const draw = (result, place) => {
    const before = places ? places.get(result.index) : result.index;
    return row(result, place, before, { scale, body, cut: cutOnes.has(result.index), places, size: sizes.get(result.index) });
  };
  if (!reply.results.length) return h("p", { class: "hint none-left" }, "No document has such a score: all were dropped.");
  const list = h("ol", { class: "ranking" }, reply.results.slice(0, MOST_ROWS).map(draw));
  return [legend(places), list, rest(list, reply.results, draw)];
}

/** What the arrows mean, above the first of them. */
const legend = (places) => h("p", { class: "hint arrows" },
  h("span", { "aria-hidden": "true" }, "▲ ▼"), ` places up or down against ${places ? "the first model’s order" : "the order you gave"}`);

/** A long ranking is drawn in full only for those who want it. */
function rest(list, results, draw) {
  if (results.length <= MOST_ROWS) return null;
  const left = results.slice(MOST_ROWS);
  const button = h("button", { type: "button", class: "button quiet" }, `Show the other ${count(left.length)}`);
  button.addEventListener("click", () => {
    list.append(...left.map((result, place) => draw(result, place + MOST_ROWS)));
    button.remove();
  });
  return button;
}

function row(result, place, before, { scale, body, cut: isCut, places, size }) {
  const given = body.documents[result.index];
  const picture = pictureIn(given);
  const text = result.document?.text || labelOf(given, textOf);
  const [passage] = result.passages ?? [];
  const part = passage && !isWhole(passage, text);
  const words = part ? marked(text, passage) : plain(text);
  const isScored = result.relevance_score !== null;
  const shown = isScored ? score(result.relevance_score, scale.name) : "not scored";
  return h("li", { class: "ranked", "data-index": result.index },
    h("div", { class: "place" }, h("span", null, h("span", { class: "visually-hidden" }, "Place "), place + 1), moved(before, place, places)),
    picture ? h("div", { class: "pictured" }, thumbnail(picture), words) : words,
    h("span", { class: "score", title: isScored ? String(result.relevance_score) : "the deadline came first" }, h("span", { class: "visually-hidden" }, "Score "), shown),
    track(result.relevance_score ?? 0, scale),
    h("span", { class: "from", title: `“index” ${result.index} in the API, which counts from 0` }, `document ${result.index + 1}`),
    h("p", { class: "below" },
      size && h("span", null, scaledTo(size, picture)),
      passage && h("span", null, part ? `best passage: characters ${count(passage.start)} to ${count(passage.end)}` : "best passage: the whole document"),
      isCut && badge("warn", "truncated", "scissors"),
      more(words)));
}

/** What changed against the order of the request, or of the other model. */
function moved(before, place, places) {
  const than = places ? "the other model" : "the given order";
  if (before === undefined) return h("span", { class: "moved muted" }, "new");
  const step = before - place;
  if (step === 0) return h("span", { class: "moved muted" }, h("span", { "aria-hidden": "true" }, "="), h("span", { class: "visually-hidden" }, `same as in ${than}`));
  const way = step > 0 ? "up" : "down";
  return h("span", { class: `moved ${way}` },
    h("span", { "aria-hidden": "true" }, `${step > 0 ? "▲" : "▼"} ${Math.abs(step)}`),
    h("span", { class: "visually-hidden" }, `${way} ${Math.abs(step)} against ${than}`));
}

function track(value, { low, width }) {
  const zero = (100 * (0 - low)) / width;
  const length = (100 * Math.abs(value)) / width;
  const fill = sized(h("span", { class: `fill${value < 0 ? " under" : ""}` }), length);
  sized(fill, value < 0 ? zero - length : zero, "left");
  return h("div", { class: "track", "aria-hidden": "true" }, fill);
}

const plain = (text) => h("p", { dir: "auto", class: text.length > LONG ? "words short" : "words" }, text);

/** Tell a passage that is the whole text: there is nothing to mark then. */
const isWhole = ({ start, end }, text) => start === 0 && end >= Array.from(text).length;

/** A text with its best passage marked, and as much around it as tells where it stands. */
function marked(text, { start, end }) {
  const { before, inside, after } = cut(text, start, end);
  const short = before.length > AROUND || after.length > AROUND;
  const whole = [before, h("mark", null, inside), after];
  const words = h("p", { class: "words", dir: "auto" }, whole);
  if (short) {
    const head = before.length > AROUND ? `… ${before.slice(-AROUND)}` : before;
    const tail = after.length > AROUND ? `${after.slice(0, AROUND)} …` : after;
    words.replaceChildren(head, h("mark", null, inside), tail);
    words.whole = whole;
  }
  return words;
}

function more(words) {
  if (!words.whole && !words.classList.contains("short")) return null;
  const button = h("button", { type: "button", class: "button quiet compact" }, "Whole document");
  button.addEventListener("click", () => {
    words.classList.remove("short");
    if (words.whole) words.replaceChildren(...words.whole.map((part) => part.cloneNode?.(true) ?? part));
    words.tabIndex = -1;
    words.focus();
    button.remove();
  });
  return button;
}

/** How far two rankings agree, in words and as Kendall's tau over the documents in both. */
export function comparison(left, right) {
  const places = new Map(right.results.map((result, place) => [result.index, place]));
  const common = left.results.map((result) => places.get(result.index)).filter((place) => place !== undefined);
  const pairs = (common.length * (common.length - 1)) / 2;
  const discordant = common.reduce((sum, place, i) => sum + common.slice(i + 1).filter((later) => later < place).length, 0);
  const tau = pairs ? 1 - (2 * discordant) / pairs : 1;
  const same = left.results[0].index === right.results[0].index;
  return h("p", { class: "notice across" }, icon("info"),
    h("span", null, same ? "Both put the same document first. " : "They disagree on the first document. ",
      `${plural(discordant, "pair")} of ${count(pairs)} are in the opposite order (Kendall’s τ ${tau.toFixed(2)}).`));
}
