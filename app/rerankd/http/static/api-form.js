/** The form that sends an operation's request, and its `curl` command. */

import { deref, opened, specUrl, statusLine } from "./api-document.js";
import { byId, codeBlock, h } from "./api-elements.js";
import { keyOf } from "./console/session.js";

const SHOWN_HEADERS = ["Content-Type", "Retry-After", "Server-Timing", "X-Request-Id"];

const keyInput = byId("api-key");
keyInput.value = keyOf() ?? "";
const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function labelled(id, label, control) {
  control.id = id;
  return [h("label", { for: id }, label), control];
}

function parameterControl({ in: place, schema }) {
  const { node } = opened(schema);
  const values = node.enum ?? (node.type === "boolean" ? [true, false] : null);
  if (!values) return h("input", { type: "text", required: place === "path", spellcheck: "false" });
  return h("select", null, ["", ...values].map((value) => h("option", null, String(value))));
}

/** A choice of some names; `chosen` is told which, now and whenever that changes. */
function choice(id, label, names, chosen) {
  const change = () => chosen(names.indexOf(select.value));
  const select = h("select", { change }, names.map((name) => h("option", null, name)));
  chosen(0);
  return labelled(id, label, select);
}

function bodyControl(op, body) {
  const { examples, type } = op.body;
  const fill = (index) => {
    body.value = examples[index]?.[1] ?? "";
    body.rows = Math.min(Math.max(body.value.split("\n").length + 2, 4), 20);
  };
  const names = examples.map(([name]) => name);
  return [
    examples.length > 1 ? choice(`${op.id}-example`, "Example", names, fill) : fill(0),
    labelled(`${op.id}-body`, `Body (${type})`, body),
  ];
}

/** Where answers come in several formats: a choice of the one to ask for. */
function acceptControl(op, accept) {
  if (op.readable.length < 2) return null;
  const set = (index) => { accept.type = op.readable[index]; };
  return choice(`${op.id}-accept`, "Answer as", op.readable, set);
}

/** Build the form of one operation, its `curl` command and the place for the answer. */
export function tryForm(op) {
  const inputs = op.parameters.filter((parameter) => parameter.in !== "cookie")
    .map((parameter) => ({ ...parameter, control: parameterControl(parameter) }));
  const body = op.body?.type && h("textarea", { spellcheck: "false", autocomplete: "off" });
  const accept = {};
  const status = h("p", { class: "result-status", role: "status", "aria-live": "polite" });
  const answer = h("div", { class: "answer" });
  const button = h("button", { class: "send", type: "submit" }, "Send");
  const command = codeBlock("curl command", "");
  const refresh = () => { command.firstChild.textContent = curl(op, request(op, inputs, body, accept)); };
  const submit = (event) => {
    event.preventDefault();
    send(request(op, inputs, body, accept), { button, status, answer });
  };
  const form = h("form", { submit, input: refresh, change: refresh },
    inputs.map((input) => labelled(`${op.id}-${input.in}-${input.name}`,
      `${input.name} (${input.in})`, input.control)),
    body && bodyControl(op, body),
    acceptControl(op, accept),
    h("p", { class: "actions" }, button, op.key !== "none" && keyHint()),
    h("div", { class: "result" }, status, answer),
    h("figure", { class: "curl" },
      h("figcaption", null, "The same with curl ", copyControls(command)), command));
  keyInput.addEventListener("input", refresh);
  refresh();
  return form;
}

function keyHint() {
  return h("span", { class: "note" }, "Uses the ", h("a", { href: "#authentication" }, "API key"));
}

/** Put the form's values together as the request they mean; the body goes out as it was typed. */
function request(op, inputs, body, accept) {
  const values = (place) => inputs.filter(({ in: at, control }) => at === place && control.value)
    .map(({ name, control }) => [name, control.value]);
  const inPath = Object.fromEntries(values("path"));
  const filled = (hole, name) => encodeURIComponent(inPath[name] ?? hole);
  const url = new URL(`.${op.path.replace(/\{([^}]+)\}/g, filled)}`, specUrl);
  for (const [name, value] of values("query")) url.searchParams.append(name, value);
  const headers = Object.fromEntries(values("header"));
  if (body) headers["Content-Type"] = op.body.type;
  if (accept.type && accept.type !== op.readable[0]) headers.Accept = accept.type;
  const key = keyInput.value.trim();
  if (key) headers.Authorization = `Bearer ${key}`;
  return { url, method: op.method, headers, body: body ? body.value : undefined };
}

/** Write a request as a shell command; the key stays out of it, for it would stay in histories. */
function curl(op, { url, method, headers, body }) {
  const { Authorization: key, ...shown } = headers;
  const implied = body === undefined ? "GET" : "POST";
  return [
    `curl -sS ${method === implied ? "" : `-X ${method} `}${shellQuoted(url.href)}`,
    ...Object.entries(shown).map(([name, value]) => `-H ${shellQuoted(`${name}: ${value}`)}`),
    key || op.key === "required" ? '-H "Authorization: Bearer $API_KEY"' : "",
    body === undefined ? "" : `--data-raw ${shellQuoted(body)}`,
  ].filter(Boolean).join(" \\\n  ");
}

/** Send a request and show its answer; a second press while one is under way does nothing. */
async function send({ url, ...asked }, view) {
  if (view.button.getAttribute("aria-disabled")) return;
  view.button.setAttribute("aria-disabled", "true");
  view.status.className = "result-status";
  view.status.textContent = "Sending…";
  view.answer.replaceChildren();
  try {
    const started = performance.now();
    const response = await fetch(url, { ...asked, cache: "no-store" });
    await showText(response, view);
    showStatus(response, performance.now() - started, view);
  } catch (error) {
    view.status.classList.add("s5");
    view.status.textContent = `No answer: the server cannot be reached (${error.message}).`;
  } finally {
    view.button.removeAttribute("aria-disabled");
  }
}

/** Show an answer as it arrives: a stream grows line by line. */
async function showText(response, view) {
  showStatus(response, null, view);
  const block = codeBlock("Answer", "");
  view.answer.append(block);
  let text = "";
  for await (const part of parts(response.body)) {
    text += part;
    block.firstChild.textContent = text;
  }
  block.firstChild.textContent = pretty(text) || "(empty body)";
}

async function* parts(stream) {
  const reader = stream?.pipeThrough(new TextDecoderStream()).getReader();
  for (let read = await reader?.read(); read && !read.done; read = await reader.read()) {
    yield read.value;
  }
}

function showStatus(response, elapsed, view) {
  view.status.className = `result-status s${String(response.status)[0]}`;
  view.status.textContent = statusLine(response)
    + (elapsed === null ? " …" : ` in ${elapsed.toFixed(0)} ms`);
  if (elapsed !== null) return;
  const present = SHOWN_HEADERS.filter((name) => response.headers.has(name));
  view.answer.replaceChildren(
    h("dl", null, present.map((name) => h("div", null,
      h("dt", null, name), h("dd", null, response.headers.get(name))))));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function copyControls(block) {
  const note = h("span", { class: "note", role: "status" });
  const click = async () => {
    note.textContent = (await copied(block)) ? "Copied" : "Selected: press Ctrl+C";
    setTimeout(() => { note.textContent = ""; }, 3000);
  };
  const props = { type: "button", class: "copy", "aria-label": "Copy the curl command", click };
  return [h("button", props, "Copy"), " ", note];
}

/** Copy a block's text; without the clipboard API, as over plain HTTP, by selecting it. */
async function copied(block) {
  try {
    await navigator.clipboard.writeText(block.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(block);
    return document.execCommand("copy");
  }
}
