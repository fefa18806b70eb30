import * as documents from "./documents.js";
import { addressIn } from "./pictures.js";

/** Whether anything in a draft is a picture. */
export function hasPictures(draft) {
  return Boolean(draft.queryPicture || draft.pictures.length || documents.parse(draft.documents).documents.some(addressIn));
}

const sees = (model) => model.input_modalities?.includes("image");

/** What to do where a chosen model can't see a draft's pictures; null where all is well. */
export function cannotSee(draft, models) {
  if (!hasPictures(draft)) return null;
  const chosen = [draft.model, draft.compare].map((id) => models.find((one) => one.id === id));
  const blind = chosen.filter((model) => model?.input_modalities && !sees(model)).map((model) => model.id);
  if (!blind.length) return null;
  const able = models.filter(sees).map((model) => model.id);
  const instead = able.length
    ? `Choose ${able.join(" or ")}`
    : "Deploy a model that reads pictures, such as Qwen3-VL-Reranker with its mmproj file";
  return `${[...new Set(blind)].join(" and ")} can’t see pictures. ${instead}, or remove them.`;
}
