import { call, inWords } from "./client.js";
import { open } from "./dialogs.js";
import { h, notice, partsOf, template } from "./dom.js";
import { bytes } from "./format.js";
import { announce } from "./notices.js";

const NUMBERS = ["context", "workers", "threads"];

/** Ask how a model of the catalog is to be deployed, or any other without one; then deploy it. */
export async function deploy(entry = null) {
  const title = entry ? `Deploy ${entry.title}` : "Deploy a model";
  const done = await open(title, (close) => form(entry, close));
  if (!done) return;
  announce(`${done.id} is being deployed`);
  location.hash = "#deployments";
}

function form(entry, close) {
  const element = template("form-deploy");
  const parts = partsOf(element);
  parts.sourceField.hidden = Boolean(entry);
  parts.variantField.hidden = !entry;
  if (entry) offer(entry, parts);
  parts.cancel.addEventListener("click", () => close(null));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    parts.fault.textContent = "";
    try {
      close(await call("POST", "/v1/deployments", { body: request(entry, parts) }));
    } catch (error) {
      parts.fault.textContent = inWords(error);
    }
  });
  return element;
}

function offer(entry, parts) {
  parts.variant.append(...entry.variants.map((variant) =>
    h("option", { value: variant.name, selected: variant.name === entry.default }, nameOf(variant))));
  const tell = () => {
    const chosen = entry.variants.find((variant) => variant.name === parts.variant.value);
    parts.about.replaceChildren(...warnings(entry, chosen));
  };
  parts.variant.addEventListener("change", tell);
  parts.id.placeholder = entry.id;
  tell();
}

const nameOf = (variant) =>
  `${variant.name}: ${bytes(variant.bytes)}, takes ${bytes(variant.memory_bytes)}${variant.installed ? ", on this machine" : ""}`;

function warnings(entry, variant) {
  const said = [];
  if (variant.fits === false) {
    said.push(notice("warn", `It needs about ${bytes(variant.memory_bytes)}, which is more than is free now.`));
  }
  if (entry.needs_acceptance) {
    said.push(notice("warn", `${licence(entry)} The server accepts it only if it was started with `,
      h("code", null, "--accept-license"), "."));
  }
  return said;
}

export const licence = (entry) =>
  (entry.non_commercial ? `Its licence, ${entry.license}, forbids commercial use.` : `Its licence could not be confirmed (${entry.license}).`);

function request(entry, parts) {
  const options = Object.fromEntries(NUMBERS
    .filter((name) => parts[name].value)
    .map((name) => [name, Number(parts[name].value)]));
  if (parts.gpu_layers.value.trim()) options.gpu_layers = parts.gpu_layers.value.trim();
  return {
    model: entry ? reference(entry, parts.variant.value) : parts.source.value.trim(),
    ...(parts.id.value.trim() && { id: parts.id.value.trim() }),
    ...(parts.asFamily.value.trim() && { as: parts.asFamily.value.trim() }),
    ...(parts.pinned.checked && { pinned: true }),
    ...(Object.keys(options).length && { options }),
  };
}

const reference = (entry, variant) => (variant === entry.default ? entry.id : `${entry.id}:${variant}`);
