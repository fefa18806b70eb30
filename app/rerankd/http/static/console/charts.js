import { h, s } from "./dom.js";
import { momentOf } from "./format.js";

const HEIGHT = 152;
const LEFT = 44;
const BOTTOM = 20;
const TOP = 8;
const TICKS = 3;
const LABELS = 4;

/**
 * A chart of values over time, its readout and its table.
 *
 * `times` are the beginnings of the steps; each of `lines` has `name`, `kind`, `values`, null
 * where there is none, and their `total` to show; `step` is the length of a step in seconds. `form` is "columns" or "lines", `write` puts a value into words.
 */
export function chart({ title, times, lines, form, write, step }) {
  const clock = momentOf(step);
  const readout = h("span", { class: "readout" });
  const spoken = lines.map(({ name, total }) => `${name} ${total || "nothing"}`).join(", ");
  const label = `${title}: ${spoken}. The table below has the numbers.`;
  const svg = s("svg", { role: "img", "aria-label": label, tabindex: 0, preserveAspectRatio: "none" });
  const figure = h("figure", { class: "card chart" }, h("figcaption", null, title, readout), svg, table({ title, times, lines, write, clock }));
  const drawing = new Drawing(svg, { times, lines, form, write, clock });
  const tell = (place) => {
    const texts = lines.map(({ values, total }) => (place === null ? total : written(values[place], write)));
    readout.replaceChildren(place === null ? "" : `${clock(times[place])} `, ...named(lines, texts));
    drawing.point(place);
  };
  tell(null);
  listen(svg, drawing, times.length, tell);
  // Drawn at its true width, so that text and lines are not stretched.
  new ResizeObserver(() => drawing.draw(svg.clientWidth)).observe(svg);
  return figure;
}

const written = (value, write) => (value === null ? "–" : write(value));

/** Texts of lines; where there are several, each after its name and what it looks like. */
function named(lines, texts) {
  if (lines.length === 1) return texts;
  return lines.map(({ name, kind }, place) => texts[place] && h("span", null,
    h("i", { class: kind, "aria-hidden": "true" }), ` ${name} ${texts[place]}`)).filter(Boolean);
}

function listen(svg, drawing, steps, tell) {
  let place = null;
  const go = (next) => {
    place = next;
    tell(place);
  };
  svg.addEventListener("pointermove", (event) => go(drawing.stepAt(event.offsetX)));
  svg.addEventListener("pointerleave", () => go(null));
  svg.addEventListener("blur", () => go(null));
  svg.addEventListener("keydown", (event) => {
    const ends = { Home: 0, End: steps - 1 };
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key in ends) go(ends[event.key]);
    else if (step) go(Math.max(0, Math.min(steps - 1, (place ?? steps) + step)));
    else return;
    event.preventDefault();
  });
}

class Drawing {
  #svg;
  #data;
  #width = 0;
  #cursor = s("line", { class: "cursor" });

  constructor(svg, data) {
    this.#svg = svg;
    this.#data = data;
  }

  draw(width) {
    if (!width) return;
    this.#width = width;
    const { times, lines, form, write, clock } = this.#data;
    const most = niceMost(Math.max(0, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0))), form);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#svg.replaceChildren(
      ...grid(most, y, width, write),
      ...labels(times, clock, (place) => this.#x(place + 0.5)),
      ...(form === "columns" ? this.#columns(lines[0].values, y) : lines.flatMap((line) => this.#line(line, y))),
      this.#cursor,
    );
    this.point(null);
  }

  stepAt(offset) {
    const steps = this.#data.times.length;
    const place = Math.floor(((offset - LEFT) / (this.#width - LEFT)) * steps);
    return Math.max(0, Math.min(steps - 1, place));
  }

  point(place) {
    const x = place === null ? -10 : this.#x(place + 0.5);
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM })) {
      this.#cursor.setAttribute(name, value);
    }
    this.#cursor.toggleAttribute("hidden", place === null);
  }

  #x(step) {
    return LEFT + ((this.#width - LEFT) * step) / this.#data.times.length;
  }

  #columns(values, y) {
    const wide = Math.max(1, this.#x(1) - this.#x(0) - 1.5);
    return values.map((value, place) => value > 0 && s("rect", {
      class: "column", x: this.#x(place), y: Math.min(y(value), y(0) - 1), width: wide, height: Math.max(1, y(0) - y(value)), rx: Math.min(1.5, wide / 2),
    })).filter(Boolean);
  }

  /** A line with gaps where nothing was measured, and a dot where a value stands alone. */
  #line({ kind, values }, y) {
    const runs = [];
    values.forEach((value, place) => {
      if (value === null) return;
      if (place === 0 || values[place - 1] === null) runs.push([]);
      runs.at(-1).push([this.#x(place + 0.5), y(value)]);
    });
    return runs.map((points) => (points.length === 1
      ? s("circle", { class: `dot ${kind}`, cx: points[0][0], cy: points[0][1], r: 2.5 })
      : s("polyline", { class: `line ${kind}`, points: points.map((point) => point.join()).join(" ") })));
  }
}

function grid(most, y, width, write) {
  return Array.from({ length: TICKS + 1 }, (_, tick) => (most * tick) / TICKS).flatMap((value) => [
    s("line", { class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value) }),
    s("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, write(value)),
  ]);
}

function labels(times, clock, x) {
  const every = Math.ceil(times.length / LABELS);
  return times.map((time, place) => place % every === 0 && s("text", {
    x: x(place), y: HEIGHT - 4, "text-anchor": place === 0 ? "start" : "middle",
  }, clock(time))).filter(Boolean);
}

/** The top of an axis: a round number, a multiple of the ticks where values are counts. */
function niceMost(most, form) {
  const least = form === "columns" ? TICKS : 1;
  if (most <= least) return least;
  const step = most / TICKS;
  const power = 10 ** Math.floor(Math.log10(step));
  return TICKS * power * [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= step && (form !== "columns" || Number.isInteger(factor * power)));
}

/** The same numbers as text, steps without any left out. */
function table({ title, times, lines, write, clock }) {
  const kept = times.map((time, place) => [time, place]).filter(([, place]) => lines.some(({ values }) => values[place]));
  const heads = ["Time", ...lines.map(({ name }) => name)];
  return h("details", null, h("summary", null, "Table"),
    kept.length === 0 ? h("p", { class: "muted small" }, "Nothing in this period.") : h("div", { class: "table-wrap", tabindex: 0, role: "group", "aria-label": title },
      h("table", null, h("caption", { class: "visually-hidden" }, title),
        h("thead", null, h("tr", null, heads.map((name, column) => h("th", { scope: "col", class: column > 0 && "amount" }, name)))),
        h("tbody", null, kept.map(([time, place]) => h("tr", null, h("th", { scope: "row" }, clock(time)),
          lines.map(({ values }) => h("td", { class: "amount" }, written(values[place], write)))))))));
}
