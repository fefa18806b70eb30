/** Read documents as people paste them: a JSON array, JSON Lines, or one a line. */
export function parse(text) {
  const trimmed = text.trim();
  if (!trimmed) return { documents: [], form: "lines", fault: null };
  if (/^\[\s*(["{\]]|$)/.test(trimmed)) return fromArray(trimmed);
  const lines = trimmed.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
  if (lines.every((line) => /^\{.*\}$/.test(line))) return fromLines(lines);
  return { documents: lines, form: "lines", fault: null };
}

function fromArray(text) {
  try {
    return checked(JSON.parse(text), "JSON");
  } catch (error) {
    return { documents: [], form: "JSON", fault: `This is not valid JSON: ${error.message}` };
  }
}

function fromLines(lines) {
  const documents = [];
  for (const [number, line] of lines.entries()) {
    try {
      documents.push(JSON.parse(line));
    } catch {
      const fault = `Line ${number + 1} is not valid JSON`;
      return { documents: [], form: "JSON Lines", fault };
    }
  }
  return checked(documents, "JSON Lines");
}

function checked(documents, form) {
  const wrong = documents.findIndex((one) => typeof one !== "string" && !isObject(one));
  if (wrong < 0) return { documents, form, fault: null };
  return { documents: [], form, fault: `Document ${wrong + 1} is neither text nor an object` };
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The text of a document to show before the server has given its own. */
export function textOf(given) {
  if (typeof given === "string") return given;
  if (typeof given.text === "string") return [given.title, given.text].filter(Boolean).join("\n");
  return JSON.stringify(given);
}

/** Cut a text by code points, which is how the server counts characters. */
export function cut(text, start, end) {
  const points = Array.from(text);
  const part = (from, to) => points.slice(from, to).join("");
  return { before: part(0, start), inside: part(start, end), after: part(end) };
}
