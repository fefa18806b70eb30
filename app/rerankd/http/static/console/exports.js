import { base } from "./client.js";
import { h } from "./dom.js";
import { textOf } from "./documents.js";
import { copy } from "./notices.js";
import { withPictures } from "./pictures.js";
import { whoAmI } from "./session.js";
import { curl } from "./snippets.js";
import { labelOf } from "./thumbnails.js";

const BYTE_ORDER_MARK = "\uFEFF"; // without it, spreadsheets read UTF-8 as something else

/** A text as a cell; one that a spreadsheet would run as a formula gets a quote in front. */
function cell(value) {
  const text = typeof value === "string" ? value.replace(/^[=+\-@\t\r]/, "'$&") : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rankings as CSV: a row for each result. */
export function csvOf(ended) {
  const rows = ended.filter((one) => one.reply).flatMap(({ body, reply }) => reply.results.map((result, place) =>
    [reply.model, place + 1, result.index, result.relevance_score, result.document?.text || labelOf(body.documents[result.index], textOf)]));
  return BYTE_ORDER_MARK + [["model", "place", "index", "score", "text"], ...rows].map((row) => row.map(cell).join()).join("\r\n");
}

/** Requests, with their pictures, and answers as JSON. */
export async function jsonOf(ended) {
  const shown = await Promise.all(ended.map(async ({ body, reply, error }) => ({ request: await withPictures(body), ...(reply ? { answer: reply } : { error: error.message }) })));
  return JSON.stringify(shown.length === 1 ? shown[0] : shown, null, 2);
}

/** Let the browser save a text as a file. */
export function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** The buttons that save or copy what was asked and answered. */
export function exportRow(ended) {
  const saving = (text, name, type, write) => h("button", { type: "button", class: "button quiet compact", click: async () => save(name, type, await write(ended)) }, text);
  const command = () => ended.map(({ body }) => curl(base, body, { keyed: whoAmI().keyed })).join("\n\n");
  return h("div", { class: "actions exports", role: "group", "aria-label": "Export" },
    h("span", { class: "muted small" }, "Export"),
    saving("JSON", "ranking.json", "application/json", jsonOf),
    saving("CSV", "ranking.csv", "text/csv", csvOf),
    h("button", { type: "button", class: "button quiet compact", click: () => copy(command(), "curl command") }, "curl"));
}
