/** What stands in the playground's form, and the request that it makes. */
import * as documents from "./documents.js";
import { EXAMPLES } from "./examples.js";
import { referenceTo } from "./pictures.js";
import { hasPictures } from "./sight.js";

const FIRST = EXAMPLES[0];

export const EMPTY = {
  query: "", queryPicture: "", documents: "", pictures: [], instruction: "", model: "", compare: "",
  overflow: "truncate", chunkTokens: "", passages: false, raw: false, topN: "", timeoutMs: "", onTimeout: "", minScore: "",
};

export const example = () => ({ ...EMPTY, query: FIRST.query, documents: FIRST.documents.join("\n") });

/** What is of a draft in something that was kept or shared, perhaps by another version. */
export function known(state) {
  return Object.fromEntries(Object.entries(state).filter(([name, value]) => name in EMPTY && isLike(value, EMPTY[name])));
}

function isLike(value, model) {
  if (!Array.isArray(model)) return typeof value === typeof model;
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

/** The ids of all pictures of a draft. */
export const picturesOf = (draft) => [draft.queryPicture, ...(draft.pictures ?? [])].filter(Boolean);

/** The request's body for a model; pictures stand in it as references, which `withPictures` replaces. */
export function bodyOf(draft, model, { instructed }) {
  const { topN, raw, overflow, chunkTokens, passages, instruction, timeoutMs, onTimeout, minScore } = draft;
  const whole = (text) => (Number.isInteger(Number(text)) && Number(text) > 0 ? Number(text) : 0);
  return {
    ...(model && { model }),
    query: queryOf(draft),
    documents: [...documents.parse(draft.documents).documents, ...draft.pictures.map((id) => ({ image: referenceTo(id) }))],
    ...(instruction && instructed && { instruction }),
    ...(whole(topN) && { top_n: whole(topN) }),
    ...(raw && { raw_scores: true }),
    ...(overflow !== "truncate" && { overflow }),
    ...(overflow === "chunk" && whole(chunkTokens) && { chunk_tokens: whole(chunkTokens) }),
    // Of chunks, the best one is always marked: it is what the score comes from.
    ...((passages || overflow === "chunk") && { return_passages: true }),
    ...(whole(timeoutMs) && { timeout_ms: whole(timeoutMs) }),
    ...(onTimeout && { on_timeout: onTimeout }),
    // Pictures stand in the form already: there is no need to send them back.
    ...(hasPictures(draft) && { return_documents: false }),
    ...(minScore.trim() && Number.isFinite(Number(minScore)) && { min_score: Number(minScore) }),
  };
}

function queryOf({ query, queryPicture }) {
  if (!queryPicture) return query;
  const picture = { type: "image_url", image_url: { url: referenceTo(queryPicture) } };
  return query.trim() ? [picture, { type: "text", text: query }] : { image: referenceTo(queryPicture) };
}
