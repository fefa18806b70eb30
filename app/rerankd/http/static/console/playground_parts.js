import { inWords } from "./client.js";
import { h, notice } from "./dom.js";
import { plural } from "./format.js";

/** Say at a field what is wrong with it, or that nothing is. */
export function mark(field, place, fault) {
  if (fault) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
  place.hidden = !fault;
  place.textContent = fault ?? "";
}

/** A request that was refused, in place of its ranking. */
export function failure({ body, error }) {
  return h("div", { role: "alert" }, notice("bad", h("strong", null, `${body.model ?? "Request"}: `), inWords(error)));
}

/** An answer as screen readers hear it. */
export function spoken({ reply, error }) {
  if (error) return inWords(error);
  const [best] = reply.results;
  const first = best ? `best is document ${best.index + 1}` : "every document was dropped";
  return `${reply.model}: ${plural(reply.results.length, "result")}, ${first}.`;
}

/** Light up a document in both rankings when one of them is pointed at. */
export function linkTwins(answers) {
  answers.onpointerover = (event) => {
    const index = event.target.closest?.("[data-index]")?.dataset.index;
    for (const row of answers.querySelectorAll("[data-index]")) {
      row.classList.toggle("twin", row.dataset.index === index);
    }
  };
}
