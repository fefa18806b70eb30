import { forget as forgetPictures } from "./pictures.js";

/**
 * What the playground keeps in this browser alone: the form, and the last runs with their answers.
 *
 * Bounded: the oldest runs go first, and a run that is too large by itself is not kept. Pictures
 * are kept by themselves; here are only their ids.
 */
const STORED = "rerankd.playground";
const MOST_RUNS = 10;
const MOST_CHARACTERS = 2_000_000;

const EMPTY = { draft: null, runs: [] };

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(STORED));
    return Array.isArray(found?.runs) ? found : EMPTY;
  } catch {
    return EMPTY; // storage may be forbidden, or hold what another version wrote
  }
}

/** Write as many runs as there is room for, newest first. */
function write(draft, runs) {
  for (let kept = Math.min(runs.length, MOST_RUNS); kept >= 0; kept -= 1) {
    const text = JSON.stringify({ draft, runs: runs.slice(0, kept) });
    if (text.length > MOST_CHARACTERS && kept > 0) continue;
    try {
      localStorage.setItem(STORED, text);
      return;
    } catch {
      // The browser's room is used up, or storage is forbidden: try with less.
    }
  }
}

export const keptDraft = () => read().draft;
export const keptRuns = () => read().runs;

export function keepDraft(draft) {
  write(draft, read().runs);
}

/** Keep a run: when it was, the form as it was, and each model's body, answer and time. */
export function keepRun(draft, ended) {
  const run = { time: Date.now() / 1000, draft, ended };
  write(draft, [run, ...read().runs]);
}

/** Tells that nothing is kept any more, whichever tab cleared it. */
export const forgotten = new EventTarget();
window.addEventListener("storage", (event) => {
  if (event.key === STORED && event.newValue === null) forgotten.dispatchEvent(new Event("forgotten"));
});

export function forgetAll() {
  try {
    localStorage.removeItem(STORED);
  } catch {
    // Then nothing was kept either.
  }
  forgetPictures();
  forgotten.dispatchEvent(new Event("forgotten"));
}
