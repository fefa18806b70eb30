"use strict";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];
const COLUMNS = ["Field", "Type", "Required", "Default", "Description"];
const SHOWN_HEADERS = ["Content-Type", "Retry-After", "Server-Timing", "X-Request-Id"];

const byId = (id) => document.getElementById(id);
const deref = (node) => opened(node).node;
const grouped = (name) => (name.includes(" | ") ? `(${name})` : name);
const isJson = (type) => /[/+]json\b/.test(type);
const methodBadge = ({ method }) => h("span", { class: `method ${method.toLowerCase()}` }, method);
const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const statusLine = ({ status, statusText }) => `${status} ${statusText}`.trim();

const specUrl = new URL("openapi.json", document.baseURI);
const keyInput = byId("api-key");
let spec = {};

/** Build an element: strings become text, functions listeners; null and false are left out. */
function h(tag, props, ...children) {
  const element = document.createElement(tag);
  const kept = (value) => value !== undefined && value !== null && value !== false;
  for (const [name, value] of Object.entries(props ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (kept(value)) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(kept));
  return element;
}

/** Turn the `code` spans of a description into elements. */
function inline(text) {
  return (text ?? "").split(/`([^`]+)`/).map((part, i) => (i % 2 ? h("code", null, part) : part));
}

function paragraphs(text) {
  return (text ?? "").split(/\n\s*\n/).filter((part) => part.trim())
    .map((part) => h("p", null, inline(part)));
}

/** A block of code that scrolls inside itself, reachable by keyboard. */
function codeBlock(label, text) {
  return h("pre", { tabindex: 0, role: "group", "aria-label": label }, h("code", null, text));
}

function lookup(ref) {
  if (!ref.startsWith("#/")) return {};
  const unescaped = (part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  return ref.slice(2).split("/").map(unescaped).reduce((node, key) => node?.[key], spec) ?? {};
}

/** Open a node's `$ref` and `allOf`; `trail` names the refs passed, so that a cycle is a `loop`. */
function opened(given, trail = []) {
  let node = typeof given === "object" && given !== null ? given : {};
  let name = node.title;
  while (node.$ref) {
    const { $ref, ...own } = node;
    name = $ref.split("/").pop();
    if (trail.includes($ref)) return { node: {}, name, trail, loop: true };
    trail = [...trail, $ref];
    node = { ...lookup($ref), ...own };
  }
  for (const part of node.allOf ?? []) node = merged(opened(part, trail).node, node);
  return { node, name, trail, loop: false };
}

function merged(base, own) {
  return {
    ...base,
    ...own,
    properties: { ...base.properties, ...own.properties },
    required: [...(base.required ?? []), ...(own.required ?? [])],
  };
}

/** The alternatives of an opened schema, null last because it says the least. */
function alternatives(node) {
  const types = Array.isArray(node.type) ? node.type.map((type) => ({ ...node, type })) : [];
  const all = node.anyOf ?? node.oneOf ?? types;
  return [...all].sort((a, b) => (a.type === "null") - (b.type === "null"));
}

/** Name a schema's type in words, such as `array of (string | Document) | null`. */
function typeName(schema, outer = []) {
  const { node, name, trail, loop } = opened(schema, outer);
  if (loop) return name;
  if ("const" in node) return JSON.stringify(node.const);
  if (node.enum) return node.enum.map((value) => JSON.stringify(value)).join(" | ");
  const names = alternatives(node).map((option) => typeName(option, trail));
  if (names.length) return [...new Set(names)].join(" | ");
  if (node.type === "array") return `array of ${grouped(typeName(node.items, trail))}`;
  if (node.type === "object" || node.properties) return objectName(node, name, trail);
  return node.type ? `${node.type}${node.format ? ` (${node.format})` : ""}` : "any";
}

function objectName(node, name, trail) {
  const isMap = !node.properties && typeof node.additionalProperties === "object";
  if (isMap) return `map of ${grouped(typeName(node.additionalProperties, trail))}`;
  return name ?? "object";
}

function field(path, schema, required, trail) {
  const { node } = opened(schema);
  return {
    path,
    type: typeName(schema, trail),
    required,
    default: "default" in node ? JSON.stringify(node.default) : "",
    description: node.description,
  };
}

/** Flatten a schema to one row per field, nested ones by their path, such as `results[].index`. */
function fields(schema, path = "", outer = []) {
  const { node, trail, loop } = opened(schema, outer);
  if (loop) return [];
  const under = (key) => (path ? `${path}.${key}` : key);
  const nested = ([key, value]) => {
    const inner = under(key);
    const required = (node.required ?? []).includes(key);
    return [field(inner, value, required, trail), ...fields(value, inner, trail)];
  };
  const options = node.anyOf ?? node.oneOf ?? [];
  return [
    ...Object.entries(node.properties ?? {}).flatMap(nested),
    ...(node.items ? fields(node.items, `${path}[]`, trail) : []),
    ...(node.additionalProperties ? fields(node.additionalProperties, under("*"), trail) : []),
    ...options.flatMap((option) => fields(option, path, trail)),
  ];
}

/** Pick the media type to show, JSON first, with its examples as `[name, text]` pairs. */
function pickContent(content = {}) {
  const types = Object.keys(content);
  const type = types.find(isJson) ?? types[0];
  if (!type) return null;
  const media = content[type];
  const text = (value) =>
    (typeof value === "string" && !isJson(type) ? value : JSON.stringify(value, null, 2));
  const examples = examplesOf(media).map(([name, value]) => [name, text(value)]);
  return { type, schema: media.schema, examples };
}

function examplesOf(media) {
  if ("example" in media) return [["Example", media.example]];
  return Object.entries(media.examples ?? {})
    .map(([key, entry]) => [deref(entry).summary ?? key, deref(entry).value])
    .filter(([, value]) => value !== undefined);
}

/** Tell whether an operation needs a key: `required`, `optional` or `none`. */
function keyNeed(security = []) {
  if (!security.length) return "none";
  return security.some((scheme) => !Object.keys(scheme).length) ? "optional" : "required";
}

/** List the document's operations, each with what the page needs to know of it. */
function operations() {
  return Object.entries(spec.paths).flatMap(([path, entry]) => {
    const item = deref(entry);
    const methods = METHODS.filter((method) => item[method]);
    return methods.map((method) => operation(path, method, item, item[method]));
  });
}

function operation(path, method, item, raw) {
  const body = raw.requestBody && deref(raw.requestBody);
  return {
    id: `${method}${path}`.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/-$/, ""),
    method: method.toUpperCase(),
    path,
    summary: raw.summary,
    description: raw.description,
    deprecated: raw.deprecated,
    key: keyNeed(raw.security ?? spec.security),
    parameters: [...(item.parameters ?? []), ...(raw.parameters ?? [])].map(deref),
    body: body && { ...pickContent(body.content), description: body.description },
    responses: Object.entries(raw.responses ?? {}).map(([status, node]) => [status, deref(node)]),
  };
}

/** A table of fields. The roles keep it a table for screen readers where CSS stacks the cells. */
function fieldTable(label, rows) {
  const heads = COLUMNS.map((name) => h("th", { scope: "col", role: "columnheader" }, name));
  return h("table", { role: "table", "aria-label": label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    h("tbody", { role: "rowgroup" }, rows.map(fieldRow)));
}

/** Let a long path wrap at its dots only, for a name cut anywhere reads as two. */
function breakable(path) {
  return path.split(".").map((part, i) => [i > 0 && [".", h("wbr")], part]);
}

function fieldRow(row) {
  const cell = (label, ...children) => h("td", { role: "cell", "data-label": label }, ...children);
  return h("tr", { role: "row" },
    h("th", { scope: "row", role: "rowheader" }, h("code", null, breakable(row.path))),
    cell("Type", row.type, row.note && h("span", { class: "note" }, row.note)),
    cell("Required", row.required ? h("strong", null, "yes") : "no"),
    cell("Default", row.default && h("code", null, row.default)),
    cell("Description", inline(row.description)));
}

function parameterRow({ name, in: place, schema, required, description }) {
  const row = field(name, schema, Boolean(required));
  return { ...row, note: `in ${place}`, description: description ?? row.description };
}

/** A body's schema and examples, for a request or a response. */
function contentView(label, content) {
  if (!content?.type) return null;
  const rows = content.schema ? fields(content.schema) : [];
  return [
    h("p", { class: "note" }, h("code", null, content.type),
      content.schema && ` · ${typeName(content.schema)}`),
    rows.length > 0 && fieldTable(`${label}: fields`, rows),
    content.examples.map(([name, text]) => h("figure", null,
      h("figcaption", null, name), codeBlock(`${label}: ${name}`, text))),
  ];
}

function responseView([status, response]) {
  const content = pickContent(response.content);
  return h("details", { class: "response", open: Boolean(content) && status.startsWith("2") },
    h("summary", null, h("span", { class: `code s${status[0]}` }, status), " ",
      inline(response.description)),
    contentView(`Response ${status}`, content));
}

/** Draw one operation: what it is, what it takes, what it answers, and the form to try it. */
function operationView(op) {
  const keys = { required: "API key required", optional: "API key optional", none: "No API key" };
  const part = (title, ...children) => [h("h3", null, title), ...children];
  return h("section", { id: op.id, class: "operation", "aria-labelledby": `${op.id}-title` },
    h("h2", { id: `${op.id}-title` }, methodBadge(op), " ", h("code", { class: "path" }, op.path)),
    h("p", { class: "summary" }, inline(op.summary)),
    paragraphs(op.description),
    h("p", { class: `key ${op.key}` }, keys[op.key], op.deprecated && " · Deprecated"),
    op.parameters.length > 0
      && part("Parameters", fieldTable("Parameters", op.parameters.map(parameterRow))),
    op.body
      && part("Request body", paragraphs(op.body.description), contentView("Request", op.body)),
    h("details", { class: "try" }, h("summary", null, "Try it"), tryForm(op)),
    part("Responses", op.responses.map(responseView)));
}

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

function bodyControl(op, body) {
  body.value = op.body.examples[0]?.[1] ?? "";
  body.rows = Math.min(Math.max(body.value.split("\n").length + 2, 4), 20);
  return labelled(`${op.id}-body`, `Body (${op.body.type})`, body);
}

/** Build the form of one operation, its `curl` command and the place for the answer. */
function tryForm(op) {
  const inputs = op.parameters.filter((parameter) => parameter.in !== "cookie")
    .map((parameter) => ({ ...parameter, control: parameterControl(parameter) }));
  const body = op.body?.type && h("textarea", { spellcheck: "false", autocomplete: "off" });
  const status = h("p", { class: "result-status", role: "status", "aria-live": "polite" });
  const answer = h("div", { class: "answer" });
  const button = h("button", { class: "send", type: "submit" }, "Send");
  const command = codeBlock("curl command", "");
  const refresh = () => { command.firstChild.textContent = curl(op, request(op, inputs, body)); };
  const submit = (event) => {
    event.preventDefault();
    send(request(op, inputs, body), { button, status, answer });
  };
  const form = h("form", { submit, input: refresh },
    inputs.map((input) => labelled(`${op.id}-${input.in}-${input.name}`,
      `${input.name} (${input.in})`, input.control)),
    body && bodyControl(op, body),
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
function request(op, inputs, body) {
  const values = (place) => inputs.filter(({ in: at, control }) => at === place && control.value)
    .map(({ name, control }) => [name, control.value]);
  const inPath = Object.fromEntries(values("path"));
  const filled = (hole, name) => encodeURIComponent(inPath[name] ?? hole);
  const url = new URL(`.${op.path.replace(/\{([^}]+)\}/g, filled)}`, specUrl);
  for (const [name, value] of values("query")) url.searchParams.append(name, value);
  const headers = Object.fromEntries(values("header"));
  if (body) headers["Content-Type"] = op.body.type;
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
    const text = await response.text();
    showAnswer(response, text, performance.now() - started, view);
  } catch (error) {
    view.status.classList.add("s5");
    view.status.textContent = `No answer: the server can't be reached (${error.message}).`;
  } finally {
    view.button.removeAttribute("aria-disabled");
  }
}

function showAnswer(response, text, elapsed, view) {
  view.status.classList.add(`s${String(response.status)[0]}`);
  view.status.textContent = `${statusLine(response)} in ${elapsed.toFixed(0)} ms`;
  const present = SHOWN_HEADERS.filter((name) => response.headers.has(name));
  view.answer.replaceChildren(
    h("dl", null, present.map((name) => h("div", null,
      h("dt", null, name), h("dd", null, response.headers.get(name))))),
    codeBlock("Answer", pretty(text) || "(empty body)"));
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

function schemeItem({ type, name, description }) {
  const header = type === "apiKey" ? `${name}: <key>` : "Authorization: Bearer <key>";
  return h("li", null, h("code", null, header), description && [" ", inline(description)]);
}

function drawHead(ops) {
  const { title = "API", version = "", description } = spec.info ?? {};
  const needed = ops.some((op) => op.key !== "none");
  const schemes = Object.values(spec.components?.securitySchemes ?? {}).map(deref);
  document.title = `${title} ${version} API reference`;
  byId("title").textContent = title;
  byId("version").textContent = version;
  byId("description").replaceChildren(...paragraphs(description));
  byId("schemes").replaceChildren(
    h("p", null, `This server asks for ${needed ? "an API key, in any of:" : "no API key."}`),
    needed ? h("ul", null, schemes.map(schemeItem)) : "");
}

function drawIndex(ops) {
  const link = (op) => h("a", { href: `#${op.id}`, title: op.summary },
    methodBadge(op), " ", h("code", null, op.path));
  byId("index-list").replaceChildren(...ops.map((op) => h("li", null, link(op))));
}

/** Load the document and draw the page from it, or say in words why that could not be done. */
async function main() {
  const status = byId("status");
  status.textContent = "Loading the API description…";
  try {
    spec = await loadSpec();
    const ops = operations();
    drawHead(ops);
    drawIndex(ops);
    byId("operations").replaceChildren(...ops.map(operationView));
    byId("index").hidden = byId("authentication").hidden = false;
    status.textContent = "";
    if (location.hash) byId(location.hash.slice(1))?.scrollIntoView();
  } catch (error) {
    status.className = "notice";
    status.textContent = `${specUrl.href} could not be shown: ${error.message}`;
  }
}

async function loadSpec() {
  const response = await fetch(specUrl);
  if (!response.ok) throw new Error(`the server answered ${statusLine(response)}`);
  const loaded = await response.json();
  if (!loaded?.paths) throw new Error("it is not an OpenAPI document");
  return loaded;
}

main();
