/** Reads the OpenAPI document: what the page needs to know of each operation. */

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];
const BINARY = /[/+.-]msgpack\b/;

export const specUrl = new URL("openapi.json", document.baseURI);
export let spec = {};

const grouped = (name) => (name.includes(" | ") ? `(${name})` : name);
const isJson = (type) => /[/+]json\b/.test(type);

export const deref = (node) => opened(node).node;
export const statusLine = ({ status, statusText }) => `${status} ${statusText}`.trim();

export async function loadSpec() {
  const response = await fetch(specUrl);
  if (!response.ok) throw new Error(`the server returned ${statusLine(response)}`);
  const loaded = await response.json();
  if (!loaded?.paths) throw new Error("not an OpenAPI document");
  spec = loaded;
}

function lookup(ref) {
  if (!ref.startsWith("#/")) return {};
  const unescaped = (part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  return ref.slice(2).split("/").map(unescaped).reduce((node, key) => node?.[key], spec) ?? {};
}

/** Open a node's `$ref` and `allOf`; `trail` names the refs passed, so that a cycle is a `loop`. */
export function opened(given, trail = []) {
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
export function typeName(schema, outer = []) {
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

export function field(path, schema, required, trail) {
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
export function fields(schema, path = "", outer = []) {
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

/** The bodies that a schema allows, each with a title where there are several. */
function shapes(schema) {
  const named = (schema?.anyOf ?? []).filter((option) => option.title);
  if (named.length < 2) return schema ? [{ schema }] : [];
  return named.map((option) => ({ title: option.title, schema: option }));
}

/** Pick the media type to show, JSON first, with its examples as `[name, text]` pairs. */
export function pickContent(content = {}, wanted = null) {
  const types = Object.keys(content);
  const type = wanted ?? types.find(isJson) ?? types[0];
  if (!type) return null;
  const media = content[type];
  const text = (value) =>
    (typeof value === "string" && !isJson(type) ? value : JSON.stringify(value, null, 2));
  const examples = examplesOf(media).map(([name, value]) => [name, text(value)]);
  return {
    type,
    others: types.filter((other) => other !== type),
    schema: media.schema,
    shapes: shapes(media.schema),
    examples,
  };
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

/** List the document's operations. */
function operations() {
  return Object.entries(spec.paths).flatMap(([path, entry]) => {
    const item = deref(entry);
    const methods = METHODS.filter((method) => item[method]);
    return methods.map((method) => operation(path, method, item, item[method]));
  });
}

/** Group the operations by their first tag, in the order of the document's own list of tags. */
export function groups() {
  const all = operations();
  const known = spec.tags ?? [];
  const others = [...new Set(all.map((op) => op.tag))]
    .filter((name) => !known.some((tag) => tag.name === name))
    .map((name) => ({ name, description: "" }));
  return [...known, ...others]
    .map(({ name, description }) => ({ name, description, ops: all.filter((op) => op.tag === name) }))
    .filter((group) => group.ops.length);
}

function operation(path, method, item, raw) {
  const body = raw.requestBody && deref(raw.requestBody);
  const responses = Object.entries(raw.responses ?? {});
  return {
    id: `${method}${path}`.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/-$/, ""),
    method: method.toUpperCase(),
    path,
    tag: raw.tags?.[0] ?? "other",
    summary: raw.summary,
    description: raw.description,
    deprecated: raw.deprecated,
    key: keyNeed(raw.security ?? spec.security),
    parameters: [...(item.parameters ?? []), ...(raw.parameters ?? [])].map(deref),
    body: body && { ...pickContent(body.content), description: body.description },
    responses: responses.map(([status, node]) => [status, deref(node)]),
    readable: readableTypes(responses),
  };
}

/** The media types of a success that a page can show. */
function readableTypes(responses) {
  const [, success] = responses.find(([status]) => status.startsWith("2")) ?? [];
  return Object.keys(deref(success).content ?? {}).filter((type) => !BINARY.test(type));
}
