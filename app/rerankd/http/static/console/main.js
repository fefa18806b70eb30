import { inWords, refusals } from "./client.js";
import { h, notice } from "./dom.js";
import { BUSY, feed } from "./feed.js";
import { showAbout } from "./about.js";
import * as catalog from "./catalog.js";
import * as deployments from "./deployments.js";
import * as keys from "./keys.js";
import * as playground from "./playground.js";
import { changes, keyOf, may, onOtherTabs } from "./session.js";
import { identify, showWho, signIn } from "./sign_in.js";
import * as theme from "./theme.js";
import * as usage from "./usage.js";

const PAGES = { playground, catalog, deployments, keys, usage };
const LOST = "The key that you were signed in with is no longer valid: it was revoked or has expired.";
const main = document.getElementById("main");
let leave = () => {};
let shown = "";

/** Read `#page/argument`; what is no page is the playground. */
function address() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  return [name in PAGES ? name : "playground", rest.join("/")];
}

function show({ focus = false } = {}) {
  const [name, argument] = address();
  leave();
  const { element, title, leave: end } = PAGES[name].page(argument);
  leave = end ?? (() => {});
  main.replaceChildren(element);
  document.title = `${title} · rerankd`;
  for (const link of document.querySelectorAll(".nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (focus && name !== shown) element.querySelector("h1").focus();
  if (name !== shown) window.scrollTo(0, 0);
  shown = name;
}

/** Draw all anew, as whoever is signed in now. */
function again() {
  feed.restart();
  show();
}

function showServer() {
  const busy = feed.list.filter((status) => BUSY.has(status.state)).length;
  const ready = feed.list.filter((status) => status.state === "ready").length;
  const words = { yes: `${ready} of ${feed.list.length} ready`, no: "Not reachable", unknown: "" };
  const server = document.getElementById("server");
  server.dataset.live = feed.live;
  server.textContent = words[feed.live];
  document.getElementById("about-server").hidden = feed.live !== "yes" || !may("manage");
  const count = document.getElementById("busy-count");
  count.hidden = busy === 0;
  count.textContent = busy ? String(busy) : "";
  count.title = `${busy} loading`;
}

async function begin() {
  theme.begin();
  const who = document.getElementById("who");
  changes.addEventListener("change", () => showWho(who, start));
  changes.addEventListener("again", async () => {
    await start();
    main.querySelector("h1").focus(); // what had the focus is gone
  });
  feed.addEventListener("change", showServer);
  document.getElementById("about-server").addEventListener("click", showAbout);
  refusals.addEventListener("unauthorized", () => start());
  onOtherTabs(() => start());
  window.addEventListener("hashchange", () => show({ focus: true }));
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  await start();
}

/** Find out who is there, then show what they may see, or ask for a key. */
async function start() {
  const had = Boolean(keyOf());
  try {
    if (await identify()) again();
    else enter(had ? LOST : "");
  } catch (error) {
    main.replaceChildren(h("h1", { tabindex: -1 }, "rerankd"), notice("bad", inWords(error)));
  }
}

/** Without a right key there is nothing to show: ask for one, and leave a way to ask again. */
async function enter(reason = "") {
  leave();
  feed.restart();
  leave = () => {};
  shown = "";
  main.replaceChildren(h("div", { class: "page" }, h("h1", { tabindex: -1 }, "Sign in"),
    h("p", { class: "muted" }, "This server requires an API key."),
    reason && notice("warn", reason),
    h("div", null, h("button", { type: "button", class: "button primary", click: () => enter() }, "Sign in with a key"))));
  document.title = "Sign in · rerankd";
  if (await signIn(reason)) again();
}

begin();
