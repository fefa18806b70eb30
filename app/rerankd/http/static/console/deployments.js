import { base, call, inWords } from "./client.js";
import { codeBlock } from "./code_block.js";
import { changeOptions, deploy } from "./deploy.js";
import { button, confirm, foot, open } from "./dialogs.js";
import { MARKS, SCALES, markBadge } from "./marks.js";
import { badge, disable, facts, h, icon, notice, partsOf, sized, template } from "./dom.js";
import { BUSY, feed } from "./feed.js";
import { bytes, clockSeconds, compact, count, fromNow, plural, span } from "./format.js";
import { toast } from "./notices.js";
import { whoAmI, whyNotManage } from "./session.js";
import { curl } from "./snippets.js";

const KINDS = { ready: ["good", "check"], failed: ["bad", "cross"], draining: ["warn", "clock"], absent: ["", null] };
const LOG_REFRESH = 2000;
const SAMPLE = { query: "What is a panda?", documents: ["hi", "The giant panda is a bear species endemic to China."] };

export function page() {
  const element = template("page-deployments");
  const parts = partsOf(element);
  const cards = new Map();
  const draw = () => show(parts, cards);
  parts.byHand.addEventListener("click", () => whyNotManage() || deploy());
  disable(parts.byHand, whyNotManage());
  feed.addEventListener("change", draw);
  const rest = feed.watchLoad();
  draw();
  const leave = () => {
    feed.removeEventListener("change", draw);
    rest();
  };
  return { element, title: "Deployments", leave };
}

/** Bring the list up to date; cards stay the same elements, so that the focus stays where it is. */
function show(parts, cards) {
  const why = whyNotManage();
  const trouble = why ? notice("warn", why) : feed.fault && notice("bad", inWords(feed.fault));
  parts.trouble.replaceChildren(...(trouble ? [trouble] : []));
  for (const [id, card] of cards) {
    if (!feed.get(id)) {
      card.element.remove();
      cards.delete(id);
    }
  }
  for (const [place, status] of [...feed.list].sort(newestFirst).entries()) {
    if (!cards.has(status.id)) cards.set(status.id, new Card(status.id));
    const { element } = cards.get(status.id);
    if (parts.list.children[place] !== element) parts.list.insertBefore(element, parts.list.children[place] ?? null);
    cards.get(status.id).show(status);
  }
  const none = parts.list.querySelector(".empty");
  if (!cards.size && !why && feed.live === "yes" && !none) parts.list.append(nothing());
  else if (cards.size) none?.remove();
}

const newestFirst = (a, b) => b.created - a.created;

const nothing = () => h("li", { class: "empty" }, icon("deployments"),
  h("p", null, "Nothing is deployed."), h("a", { class: "button primary", href: "#catalog" }, "Choose a model"));

class Card {
  #head = h("div", { class: "spread" });
  #body = h("div", { class: "stack" });
  #shown = "";

  constructor(id) {
    const heading = `deployment-${id}`;
    this.title = h("h2", { id: heading }, id);
    this.badges = h("div", { class: "badges" });
    this.#head.append(this.title, this.badges);
    const described = (text, click, kind) => {
      const made = button(text, click, kind);
      made.setAttribute("aria-describedby", heading);
      return made;
    };
    this.try = h("a", { class: "button", href: `#playground/model=${encodeURIComponent(id)}`, "aria-describedby": heading }, "Try it");
    this.restart = described("Load again", () => act("POST", `${pathOf(id)}/restart`, `${id} is loading again`));
    this.accept = described("Serve anyway", () => acceptUnproven(id));
    this.stop = described("Stop", () => stop(id), "danger");
    const actions = h("div", { class: "actions" }, this.try,
      described("curl", () => showCurl(id)), described("Logs", () => showLogs(id)),
      described("Options", () => changeOptions(feed.get(id))), this.restart, this.accept, this.stop);
    this.element = h("li", null, h("article", { class: "card deployment", "aria-labelledby": heading },
      this.#head, this.#body, actions));
  }

  show(status) {
    const now = JSON.stringify([status, fromNow(status.used)]);
    if (now === this.#shown) return;
    this.#shown = now;
    const [kind, iconName] = KINDS[status.state] ?? ["busy", "clock"];
    this.badges.replaceChildren(...[
      badge(kind, status.state, iconName),
      status.default && badge("", "default"),
      status.pinned && badge("", "pinned"),
      ...status.marks.map(markBadge),
    ].filter(Boolean));
    this.#body.replaceChildren(...[told(status), ...status.marks.map((mark) => notice("warn", MARKS[mark])), BUSY.has(status.state) && progress(status), about(status)].filter(Boolean));
    this.try.hidden = status.state !== "ready";
    const idle = ["absent", "failed"].includes(status.state);
    this.restart.hidden = !idle;
    this.restart.textContent = status.state === "failed" ? "Try again" : "Load again";
    this.accept.hidden = status.error !== "unproven_model";
    this.stop.textContent = { idle: "Remove", busy: "Cancel" }[standing(status.state)] ?? "Stop";
  }
}

/** Whether there is nothing to stop, only something to give up, or a model at work. */
function standing(state) {
  if (["absent", "failed"].includes(state)) return "idle";
  return BUSY.has(state) ? "busy" : "working";
}

const pathOf = (id) => `/v1/deployments/${encodeURIComponent(id)}`;

function told({ state, message, source, model, id }) {
  if (state === "failed") return notice("bad", message);
  const from = source === id ? null : h("p", { class: "muted small mono break" }, source);
  const words = state === "ready" || message === state ? null : h("p", { class: "small" }, sentence(message));
  return h("div", { class: "stack" }, from, words, model && model !== id && source !== model && h("p", { class: "muted small" }, `In the catalog: ${model}`));
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function progress({ id, state, progress: now }) {
  const share = now?.total ? (100 * now.done) / now.total : null;
  const words = now?.total
    ? [`${bytes(now.done)} of ${bytes(now.total)}`, now.rate > 0 && `${bytes(now.rate)}/s`, now.seconds_left >= 1 && `${span(now.seconds_left)} left`].filter(Boolean).join(", ")
    : state;
  const bar = h("div", {
    class: share === null ? "bar unknown" : "bar",
    role: "progressbar",
    "aria-label": `${id}: ${state}`,
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-valuenow": share === null ? null : Math.floor(share),
    "aria-valuetext": words,
  });
  const fill = h("div", { class: "bar-fill" });
  bar.append(share === null ? fill : sized(fill, share));
  return h("div", { class: "stack" }, bar, now?.total > 0 && h("p", { class: "small muted number" }, words));
}

function about({ facts: known, load, memory_bytes: memory, used, created, state }) {
  if (!known) return facts([["Memory", memory > 0 && bytes(memory)], ["Deployed", fromNow(created)]]);
  const waiting = load.requests ? `${plural(load.requests, "request")}, ${count(load.tokens)} tokens` : "empty";
  return h("div", { class: "stack" }, facts([
    ["Device", known.device.toUpperCase()],
    ["Layers on the GPU", count(known.gpu_layers)],
    ["Memory", bytes(memory)],
    ["Queue", waiting],
    ["Speed", load.tokens_per_second > 0 ? `${count(Math.round(load.tokens_per_second))} tokens/s` : "not measured"],
    ["Context", `${count(known.context)} tokens`],
    ["Workers", `${known.workers} × ${plural(known.threads, "thread")}`],
    ["Parameters", compact(known.parameters)],
    ["File", bytes(known.file_bytes)],
    ["Reads", known.input_modalities.length > 1 && known.input_modalities.join(" and ")],
    ["Last used", state === "ready" ? fromNow(used) : null],
  ]), known.offload && h("p", { class: "muted small" }, sentence(known.offload)),
  SCALES[known.score_scale] && h("p", { class: "muted small" }, `Its scores are ${SCALES[known.score_scale]}.`));
}

async function act(method, path, done, body) {
  try {
    await call(method, path, { body });
    toast(done);
  } catch (error) {
    toast(inWords(error));
  }
  await feed.refresh();
}

const ENDS = {
  stop: ["Stop", "Running requests finish, its memory is freed, and new requests for it are refused. Its file stays on this machine.", "stopped"],
  remove: ["Remove", "New requests for it are refused. Its file stays on this machine.", "removed"],
};

/** A download or a load is given up at once: no request depends on it, and what arrived is kept. */
async function stop(id) {
  const now = standing(feed.get(id)?.state);
  if (now === "busy") return void act("DELETE", pathOf(id), `${id}: cancelled; what has arrived is kept for the next try`);
  const [verb, text, done] = ENDS[now === "idle" ? "remove" : "stop"];
  if (await confirm(`${verb} ${id}?`, text, `${verb} it`)) await act("DELETE", pathOf(id), `${id} ${done}`);
}

async function acceptUnproven(id) {
  const text = `${feed.get(id)?.message ?? ""}. It may rank wrongly. Every answer, this page and the playground will call it unproven.`;
  if (await confirm(`Serve ${id} anyway?`, text, "Serve anyway")) {
    await act("POST", `${pathOf(id)}/restart`, `${id} is loading, unproven`, { accept_unproven: true });
  }
}

function showCurl(id) {
  const text = curl(base, { model: id, ...SAMPLE }, { keyed: whoAmI().keyed });
  open(`Ask ${id}`, (close) => [codeBlock("Command", text).element, foot(button("Close", close))], { wide: true });
}

function showLogs(id) {
  const place = h("div", { class: "logs", tabindex: 0, role: "log", "aria-label": `Log of ${id}` }, h("p", { class: "muted small" }, "Loading…"));
  let last = "";
  const refresh = async () => {
    try {
      const { data } = await call("GET", `${pathOf(id)}/logs`);
      const now = JSON.stringify(data);
      if (now !== last) place.replaceChildren(data.length ? h("ol", null, data.map(line)) : h("p", { class: "muted small" }, "Nothing yet."));
      if (now !== last) place.scrollTop = place.scrollHeight;
      last = now;
    } catch (error) {
      place.replaceChildren(notice("bad", inWords(error)));
    }
  };
  const timer = setInterval(refresh, LOG_REFRESH);
  refresh();
  open(`Log of ${id}`, (close) => [place, foot(button("Close", close))], { wide: true }).finally(() => clearInterval(timer));
}

const line = ({ time, level, message }) => {
  const kind = level.toLowerCase();
  return h("li", { class: kind }, h("time", { datetime: new Date(time * 1000).toISOString() }, clockSeconds(time)), h("span", null, kind), h("span", null, message));
};
