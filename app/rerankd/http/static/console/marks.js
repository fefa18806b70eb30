import { badge, h, notice } from "./dom.js";

/** Why the scores of a model that is served may be wrong, in words. */
export const MARKS = {
  degraded: "Degraded: a part of its rank head is missing from the file, so its scores are only approximate. A file made with “rerankd convert” has all of it.",
  unproven: "Unproven: in its load check, it failed to put relevant texts first. It is served because somebody accepted that.",
};

export function markBadge(mark) {
  const made = badge("warn", mark, "alert");
  made.title = MARKS[mark] ?? "";
  return made;
}

/** What the scores of a model are, where they are not simply its own. */
export const SCALES = {
  calibrated: "calibrated: they say what share of such documents is relevant",
  uncalibrated: "good for ordering documents only: they are no shares of relevant ones",
};

/** All that there is to know of the scores of models before they are asked. */
export function markWords(models) {
  return models.flatMap(({ id, marks = [], score_scale: scale }) => [
    ...marks.map((mark) => notice("warn", h("strong", null, `${id}: `), MARKS[mark] ?? mark)),
    ...(SCALES[scale] ? [h("p", { class: "hint" }, `Scores of ${id} are ${SCALES[scale]}.`)] : []),
  ]);
}
