import { badge } from "./dom.js";

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
