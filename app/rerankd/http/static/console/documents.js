import { addressIn } from "./pictures.js";

/**
 * Read documents as people paste them: a JSON array, a whole request, JSON Lines, or one a line.
 *
 * `lines` has the line that each document stands on, null where documents are no lines.
 */
export function parse(text) {
  const trimmed = text.trim();
  if (!trimmed) return { documents: [], lines: null, form: "lines", fault: null };
  if (/^\[\s*(["{\]]|$)/.test(trimmed)) return fromArray(trimmed);
  const filled = text.split(/\r?\n/)
    .map((line, number) => ({ text: line.trim(), number: number + 1 }))
    .filter((line) => line.text);
  const lines = filled.map((line) => line.number);
  if (/^\{\s*("|\}|$)/.test(filled[0].text)) return fromObject(trimmed) ?? fromLines(filled, lines);
  return { documents: filled.map((line) => line.text), lines, form: "lines", fault: null };
}

/** A request's body has documents; any other object is one. Null for what is no object. */
function fromObject(text) {
  try {
    const found = JSON.parse(text);
    return Array.isArray(found.documents) ? checked(found.documents, "JSON request") : checked([found], "JSON");
  } catch {
    return null;
  }
}

function fromArray(text) {
  try {
    return checked(JSON.parse(text), "JSON");
  } catch (error) {
    return { documents: [], lines: null, form: "JSON", fault: `This is not valid JSON: ${error.message}` };
  }
}

/** The first line begins as JSON, so that all lines have to be: half-read ones are not ranked. */
function fromLines(filled, lines) {
  const documents = [];
  for (const { text, number } of filled) {
    try {
      documents.push(JSON.parse(text));
    } catch (error) {
      const fault = `Line ${number} is not valid JSON: ${error.message}. To rank lines as they are, put them into a JSON array.`;
      return { documents: [], lines: null, form: "JSON Lines", fault };
    }
  }
  return checked(documents, "JSON Lines", lines);
}

function checked(documents, form, lines = null) {
  const wrong = documents.findIndex((one) => typeof one !== "string" && !isObject(one));
  if (wrong < 0) return { documents, lines, form, fault: null };
  return { documents: [], lines: null, form, fault: `Document ${wrong + 1} is neither text nor an object` };
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The text of a document to show before the server has given its own; empty for a picture alone. */
export function textOf(given) {
  if (typeof given === "string") return given;
  if (typeof given.text === "string") return [given.title, given.text].filter(Boolean).join("\n");
  if (addressIn(given)) return Array.isArray(given.content) ? textOfParts(given.content) : "";
  return JSON.stringify(given);
}

const textOfParts = (parts) => parts.map((part) => (typeof part === "string" ? part : part.text)).filter(Boolean).join("\n");

/** Cut a text by code points, which is how the server counts characters. */
export function cut(text, start, end) {
  const points = Array.from(text);
  const part = (from, to) => points.slice(from, to).join("");
  return { before: part(0, start), inside: part(start, end), after: part(end) };
}
