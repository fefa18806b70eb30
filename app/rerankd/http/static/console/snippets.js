import { pictureOf } from "./pictures.js";

const PLACEHOLDER = "RERANKD_API_KEY";
const REFERENCE = /"(picture:[\w-]+)"/g;

/** Code that sends a request, in the languages people ask for. A real key stands in none of it. */
export const LANGUAGES = { curl: "curl", python: "Python", javascript: "JavaScript" };

const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A body as JSON, with what `write` makes of each picture in place of its reference. */
function withFiles(text, write) {
  let files = 0;
  const code = text.replace(REFERENCE, (whole, reference) => {
    const picture = pictureOf(reference);
    if (!picture) return whole;
    files += 1;
    return write(picture);
  });
  return { code, files };
}

/** Without pictures, a quoted text; with pictures, a here-document in which the shell reads their files. */
function curlData(body) {
  const json = JSON.stringify(body, null, 2);
  const inside = json.replace(/[\\$`]/g, "\\$&");
  const { code, files } = withFiles(inside, ({ name, type }) => `"data:${type};base64,$(base64 < ${shellQuoted(name)} | tr -d '\\n')"`);
  if (files) return `-d @- <<JSON\n${code}\nJSON`;
  return `-d ${shellQuoted(json.replaceAll("\n", "\n  "))}`;
}

export function curl(origin, body, { keyed = false, key = null } = {}) {
  const bearer = key ? `Authorization: Bearer ${key}` : `Authorization: Bearer $${PLACEHOLDER}`;
  const lines = [`curl ${origin}/v1/rerank`, "-H 'Content-Type: application/json'"];
  if (keyed || key) lines.push(`-H "${bearer}"`);
  lines.push(curlData(body));
  return lines.join(" \\\n  ");
}

const PYTHON_PICTURE = [
  "def picture(path, kind):",
  '    with open(path, "rb") as file:',
  '        return f"data:{kind};base64,{base64.b64encode(file.read()).decode()}"',
  "",
  "",
];

function python(origin, body, { keyed }) {
  const headers = keyed
    ? `    headers={"Authorization": f"Bearer {os.environ['${PLACEHOLDER}']}"},\n`
    : "";
  const { code, files } = withFiles(pythonLiteral(body, "    "), ({ name, type }) => `picture(${JSON.stringify(name)}, "${type}")`);
  const imports = [files && "import base64", keyed && "import os"].filter(Boolean);
  return [
    ...imports, ...(imports.length ? [""] : []),
    "import httpx",
    "",
    ...(files ? ["", ...PYTHON_PICTURE] : []),
    "answer = httpx.post(",
    `    "${origin}/v1/rerank",`,
    `${headers}    json=${code},`,
    "    timeout=60,",
    ").raise_for_status().json()",
    'for result in answer["results"]:',
    '    print(result["index"], result["relevance_score"])',
  ].join("\n");
}

/** Write a JSON value as Python, one item a line. */
function pythonLiteral(value, indent = "") {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const items = Array.isArray(value)
    ? value.map((item) => `${inner}${pythonLiteral(item, inner)},`)
    : Object.entries(value).map(([name, item]) =>
      `${inner}${JSON.stringify(name)}: ${pythonLiteral(item, inner)},`);
  const [before, after] = Array.isArray(value) ? "[]" : "{}";
  return items.length ? `${before}\n${items.join("\n")}\n${indent}${after}` : before + after;
}

function javascript(origin, body, { keyed }) {
  const bearer = keyed ? `\n    Authorization: \`Bearer \${process.env.${PLACEHOLDER}}\`,` : "";
  const text = JSON.stringify(body, null, 2).replaceAll("\n", "\n  ");
  const { code, files } = withFiles(text, ({ name, type }) => `await picture(${JSON.stringify(name)}, "${type}")`);
  return [
    ...(files ? [
      'import { readFile } from "node:fs/promises";',
      "",
      "const picture = async (path, kind) => `data:${kind};base64,${await readFile(path, \"base64\")}`;",
      "",
    ] : []),
    `const response = await fetch("${origin}/v1/rerank", {`,
    '  method: "POST",',
    `  headers: {\n    "Content-Type": "application/json",${bearer}\n  },`,
    `  body: JSON.stringify(${code}),`,
    "});",
    "if (!response.ok) throw new Error(await response.text());",
    "const { results } = await response.json();",
    "for (const { index, relevance_score } of results) console.log(index, relevance_score);",
  ].join("\n");
}

const WRITERS = { curl, python, javascript };

export const snippet = (language, origin, body, options) => WRITERS[language](origin, body, options);
