import { base, call, inWords } from "./client.js";
import { codeBlock } from "./code_block.js";
import { button, confirm, foot, open } from "./dialogs.js";
import { badge, disable, h, icon, notice, partsOf, template } from "./dom.js";
import { count, dateTime, fromNow, plural } from "./format.js";
import { served } from "./models.js";
import { copy, toast } from "./notices.js";
import { drawAgain, remember, whoAmI, whyNotManage } from "./session.js";
import { identify } from "./sign_in.js";
import { curl } from "./snippets.js";

const DAY = 86_400;
const LIMITS = { requests_per_minute: "requests/min", tokens_per_minute: "tokens/min", concurrent_requests: "at once" };
const SAMPLE = { query: "What is a panda?", documents: ["hi", "The giant panda is a bear species endemic to China."] };

export function page() {
  const element = template("page-keys");
  const parts = partsOf(element);
  disable(parts.create, whyNotManage());
  parts.create.addEventListener("click", () => whyNotManage() || create());
  parts.intro.textContent = whoAmI().keyed
    ? "Who may use this server, for what, and how much."
    : "There are no keys, so this server answers anyone who can reach it, and only its own machine can manage it.";
  if (whyNotManage()) parts.trouble.append(notice("warn", whyNotManage()));
  else load(parts);
  return { element, title: "API keys" };
}

async function load(parts) {
  try {
    const { data } = await call("GET", "/v1/keys");
    parts.trouble.replaceChildren();
    parts.list.replaceChildren(data.length ? table(data) : nothing());
  } catch (error) {
    parts.trouble.replaceChildren(notice("bad", inWords(error)));
  }
}

const nothing = () => h("div", { class: "empty" }, icon("key"),
  h("p", null, "No keys yet, so anyone who can reach this server may rank. Once you create a key, every request needs one."));

const COLUMNS = ["Name", "Key", "Permissions", "Models", "Limits", "Created", "Last used", "Expires"];
const PERMISSIONS = { inference: "rank", manage: "manage" };

function table(keys) {
  const sorted = [...keys].sort((a, b) => Boolean(a.revoked) - Boolean(b.revoked) || b.created - a.created);
  return h("div", { class: "table-wrap" }, h("table", { class: "stacks" },
    h("caption", { class: "visually-hidden" }, "API keys"),
    h("thead", null, h("tr", null, COLUMNS.map((name) => h("th", { scope: "col" }, name)), h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Actions")))),
    h("tbody", null, sorted.map((key) => row(key)))));
}

function row(key) {
  const cell = (label, ...children) => h("td", { "data-label": label }, ...children);
  const heading = `key-${key.id}`;
  return h("tr", null,
    h("th", { scope: "row", id: heading }, key.name || "unnamed", key.id === whoAmI().id && whoAmI().keyed && [" ", badge("", "yours")]),
    cell("Key", h("code", null, key.prefix ? `${key.prefix}…` : "from the settings")),
    cell("Permissions", h("span", { class: "badges" }, key.scopes.map(permission))),
    cell("Models", key.models?.length ? key.models.join(", ") : "all"),
    cell("Limits", limits(key)),
    cell("Created", moment(key.created) ?? "with the server"),
    cell("Last used", moment(key.last_used) ?? "never"),
    cell("Expires", standing(key)),
    h("td", { class: "end" }, revocation(key, heading)));
}

/** When something happened, told from now; null for never. */
const moment = (time) => (time ? h("time", { datetime: new Date(time * 1000).toISOString(), title: dateTime(time) }, fromNow(time)) : null);

function permission(scope) {
  const made = badge(scope === "manage" ? "busy" : "", PERMISSIONS[scope] ?? scope);
  made.title = `Scope “${scope}”`;
  return made;
}

function limits(key) {
  const set = Object.entries(LIMITS).filter(([name]) => (key[name] ?? null) !== null);
  const words = set.map(([name, unit]) => `${key[name] === 0 ? "any" : count(key[name])} ${unit}`);
  return words.length ? words.join(", ") : "default";
}

function standing(key) {
  if (key.revoked) return badge("bad", "revoked", "cross");
  if (!key.expires) return "never";
  if (key.expires < Date.now() / 1000) return badge("warn", "expired", "clock");
  return moment(key.expires);
}

function revocation(key, heading) {
  if (key.revoked || !key.prefix) return null;
  const made = button("Revoke", () => revoke(key), "danger compact");
  made.setAttribute("aria-describedby", heading);
  return made;
}

async function revoke(key) {
  const own = key.id === whoAmI().id && whoAmI().keyed;
  const text = `Requests with ${key.prefix}… will be refused. This cannot be undone.${own ? " You are signed in with this key." : ""}`;
  if (!(await confirm(`Revoke ${key.name || "this key"}?`, text, "Revoke"))) return;
  try {
    await call("DELETE", `/v1/keys/${encodeURIComponent(key.id)}`);
    toast(`${key.name || "The key"} was revoked`);
  } catch (error) {
    toast(inWords(error));
  }
  await identify();
  drawAgain();
}

async function create() {
  const models = await served().catch(() => []);
  const made = await open("Create an API key", (close) => form(models, close));
  if (!made) return;
  if (!whoAmI().keyed) {
    remember(made.key);
    await identify();
  }
  await showOnce(made);
  drawAgain();
}

/** Show a new key until its owner says that they have it: Escape alone must not lose it. */
function showOnce(made) {
  const warning = h("p", { class: "fault", role: "alert" });
  const onEscape = () => { warning.textContent = "The key can't be shown again. Copy it, then press Done."; };
  const fill = (close) => [...shown(made), warning, foot(button("Done", close, "primary"))];
  return open("Your new key", fill, { wide: true, onEscape });
}

function form(models, close) {
  const element = template("form-key");
  const parts = partsOf(element);
  const first = !whoAmI().keyed;
  if (first) {
    parts.manage.checked = true;
    parts.first.append(notice("", "This is the first key. Every request now needs a key; this page signs in with the new one."));
  }
  parts.models.append(...models.map((model) =>
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "model", value: model.id }), model.id)));
  parts.cancel.addEventListener("click", () => close(null));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    const named = parts.name.value.trim();
    parts.nameFault.hidden = Boolean(named);
    parts.nameFault.textContent = named ? "" : "Enter a name, so that you can tell keys apart later.";
    parts.name.toggleAttribute("aria-invalid", false);
    if (!named) {
      parts.name.setAttribute("aria-invalid", "true");
      return parts.name.focus();
    }
    try {
      return close(await call("POST", "/v1/keys", { body: request(element, parts) }));
    } catch (error) {
      parts.fault.textContent = inWords(error);
    }
  });
  return element;
}

function request(element, parts) {
  const days = Number(parts.expiry.value);
  const models = [...element.querySelectorAll('[name="model"]:checked')].map((box) => box.value);
  const numbers = Object.keys(LIMITS).filter((name) => parts[name].value !== "");
  return {
    name: parts.name.value.trim(),
    expires: days ? Math.floor(Date.now() / 1000) + days * DAY : null,
    scopes: ["inference", "manage"].filter((scope) => parts[scope].checked),
    models: models.length ? models : null,
    ...Object.fromEntries(numbers.map((name) => [name, Number(parts[name].value)])),
  };
}

/** The key itself, which the server tells this once, and a request that uses it. */
function shown(made) {
  const field = h("input", { type: "text", class: "mono", readonly: true, value: made.key, id: "new-key", "aria-describedby": "new-key-note", focus: (event) => event.target.select() });
  const model = made.models?.[0];
  const parts = [
    h("p", { id: "new-key-note" }, "Copy it now: it is shown only once, because the server stores only a digest."),
    h("div", { class: "field" }, h("label", { for: "new-key" }, `Key “${made.name}”`),
      h("div", { class: "secret" }, field, h("button", { type: "button", class: "button", click: () => copy(made.key, "Key") }, icon("copy"), "Copy"))),
  ];
  if (!made.scopes.includes("inference")) return parts;
  const text = curl(base, { ...(model && { model }), ...SAMPLE }, { key: made.key });
  return [...parts, codeBlock("A request with this key", text).element,
    made.models && h("p", { class: "muted small" }, `It works for ${plural(made.models.length, "model")}: ${made.models.join(", ")}.`)].filter(Boolean);
}
