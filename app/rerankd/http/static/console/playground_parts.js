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
  return `${reply.model}: ${plural(reply.results.length, "result")}, best is document ${best.index + 1}.`;
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

/** Take a file that is let fall on an element. */
export function takeDrops(form, read) {
  const over = (event, on) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    form.classList.toggle("dropping", on);
  };
  form.addEventListener("dragover", (event) => over(event, true));
  form.addEventListener("dragleave", (event) => over(event, false));
  form.addEventListener("drop", (event) => {
    over(event, false);
    read(event.dataTransfer?.files[0]);
  });
}
