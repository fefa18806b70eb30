/** The API page: drawn from the OpenAPI document of the server that it came from. */

import { deref, groups, loadSpec, spec, specUrl } from "./api-document.js";
import { byId, h, inline, paragraphs } from "./api-elements.js";
import * as theme from "./console/theme.js";
import { methodBadge, operationView } from "./api-operation.js";

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
    h("p", null, `${needed ? "This server requires an API key, sent in one of these ways:" : "This server requires no API key."}`),
    needed ? h("ul", null, schemes.map(schemeItem)) : "");
}

function drawIndex(all) {
  const link = (op) => h("a", { href: `#${op.id}`, title: op.summary },
    methodBadge(op), " ", h("code", null, op.path));
  const entries = all.map(({ name, ops }) => h("li", null,
    h("h3", null, name), h("ol", null, ops.map((op) => h("li", null, link(op))))));
  byId("index-list").replaceChildren(...entries);
}

function groupView({ name, description, ops }) {
  const id = `group-${name.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return h("section", { class: "group", "aria-labelledby": id },
    h("h2", { id }, name), paragraphs(description), ops.map(operationView));
}

/** Load the document and draw the page from it, or say in words why that could not be done. */
async function main() {
  theme.begin();
  const status = byId("status");
  status.textContent = "Loading the API description…";
  try {
    await loadSpec();
    const all = groups();
    drawHead(all.flatMap(({ ops }) => ops));
    drawIndex(all);
    byId("operations").replaceChildren(...all.map(groupView));
    byId("index").hidden = byId("authentication").hidden = false;
    status.textContent = "";
    if (location.hash) byId(location.hash.slice(1))?.scrollIntoView();
  } catch (error) {
    status.className = "notice";
    status.textContent = `${specUrl.href} could not be shown: ${error.message}`;
  }
}

main();
