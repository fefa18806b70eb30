/** What the page shows of an operation. */

import { field, fields, pickContent, typeName } from "./api-document.js";
import { codeBlock, h, inline, paragraphs } from "./api-elements.js";
import { tryForm } from "./api-form.js";

const COLUMNS = ["Field", "Type", "Required", "Default", "Description"];

export const methodBadge = ({ method }) => (
  h("span", { class: `method ${method.toLowerCase()}` }, method));

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

/** A body's shapes and examples, for a request or a response. */
function contentView(label, content) {
  if (!content?.type) return null;
  const { type, others, schema, shapes, examples } = content;
  const several = shapes.length > 1;
  return [
    h("p", { class: "note" }, h("code", null, type),
      others.map((other) => [", ", h("code", null, other)]),
      schema && !several && ` · ${typeName(schema)}`),
    several ? shapes.map((shape) => folded(label, shape))
      : shapes.map((shape) => shapeTable(label, shape.schema)),
    examples.map(([name, text]) => exampleView(label, name, text, examples.length > 1)),
  ];
}

function shapeTable(label, schema) {
  const rows = fields(schema);
  return rows.length > 0 && fieldTable(`${label}: fields`, rows);
}

function folded(label, { title, schema }) {
  return h("details", { class: "shape" },
    h("summary", null, title, " ", h("span", { class: "note" }, "fields")),
    shapeTable(`${label}, ${title}`, schema));
}

function exampleView(label, name, text, fold) {
  const block = codeBlock(`${label}: ${name}`, text);
  if (!fold) return h("figure", null, h("figcaption", null, name), block);
  return h("details", { class: "shape" },
    h("summary", null, name, " ", h("span", { class: "note" }, "example")), block);
}

function responseView([status, response]) {
  const content = pickContent(response.content);
  return h("details", { class: "response", open: Boolean(content) && status.startsWith("2") },
    h("summary", null, h("span", { class: `code s${status[0]}` }, status), " ",
      inline(response.description)),
    contentView(`Response ${status}`, content));
}

/** Draw one operation: what it is, what it takes, what it answers, and the form to try it. */
export function operationView(op) {
  const keys = { required: "API key required", optional: "API key optional", none: "No API key" };
  const part = (title, ...children) => [h("h4", null, title), ...children];
  return h("section", { id: op.id, class: "operation", "aria-labelledby": `${op.id}-title` },
    h("h3", { id: `${op.id}-title` }, methodBadge(op), " ", h("code", { class: "path" }, op.path)),
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
