const PLACEHOLDER = "RERANKD_API_KEY";

/** Code that sends a request, in the languages people ask for. A real key stands in none of it. */
export const LANGUAGES = { curl: "curl", python: "Python", javascript: "JavaScript" };

const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(origin, body, { keyed = false, key = null } = {}) {
  const bearer = key ? `Authorization: Bearer ${key}` : `Authorization: Bearer $${PLACEHOLDER}`;
  const lines = [`curl ${origin}/v1/rerank`, "-H 'Content-Type: application/json'"];
  if (keyed || key) lines.push(`-H "${bearer}"`);
  lines.push(`-d ${shellQuoted(JSON.stringify(body, null, 2).replaceAll("\n", "\n  "))}`);
  return lines.join(" \\\n  ");
}

function python(origin, body, { keyed }) {
  const headers = keyed
    ? `    headers={"Authorization": f"Bearer {os.environ['${PLACEHOLDER}']}"},\n`
    : "";
  return [
    ...(keyed ? ["import os", ""] : []),
    "import httpx",
    "",
    "answer = httpx.post(",
    `    "${origin}/v1/rerank",`,
    `${headers}    json=${pythonLiteral(body, "    ")},`,
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
  return [
    `const response = await fetch("${origin}/v1/rerank", {`,
    '  method: "POST",',
    `  headers: {\n    "Content-Type": "application/json",${bearer}\n  },`,
    `  body: JSON.stringify(${text}),`,
    "});",
    "if (!response.ok) throw new Error(await response.text());",
    "const { results } = await response.json();",
    "for (const { index, relevance_score } of results) console.log(index, relevance_score);",
  ].join("\n");
}

const WRITERS = { curl, python, javascript };

export const snippet = (language, origin, body, options) => WRITERS[language](origin, body, options);
