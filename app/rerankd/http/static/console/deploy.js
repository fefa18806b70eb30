import { call, inWords } from "./client.js";
import { optionFields } from "./deploy_options.js";
import { faultOf, fromAddress, HubSearch } from "./deploy_source.js";
import { open } from "./dialogs.js";
import { h, notice, partsOf, template } from "./dom.js";
import { bytes } from "./format.js";
import { announce } from "./notices.js";
import { serverInfo } from "./server.js";

const PENDING = "Nothing is here yet";

let opening = false;

/** Ask the server what a dialog needs, then open it: one at a time, however often it is clicked. */
async function openOnce(title, fill) {
  if (opening) return undefined;
  opening = true;
  const known = await asked().finally(() => { opening = false; });
  return open(title, (close) => fill(known, close));
}

/** Ask how a model of the catalog is to be deployed, or any other without one; then deploy it. */
export async function deploy(entry = null) {
  const title = entry ? `Deploy ${entry.title}` : "Deploy a model";
  const done = await openOnce(title, (known, close) => form(entry, known, close));
  if (!done) return;
  announce(`${done.id} is being deployed`);
  location.hash = "#deployments";
}

/** Change the options of a deployment, which is then loaded anew with them. */
export async function changeOptions(status) {
  const done = await openOnce(`Options of ${status.id}`, (known, close) => changing(status, known, close));
  if (done) announce(`${done.id} is loaded with its new options`);
}

/** What the dialogs need to know; without it they still work. */
async function asked() {
  const [info, catalog] = await Promise.all([
    serverInfo().catch(() => ({ deployment_options: [] })),
    call("GET", "/v1/catalog").catch(() => ({ data: [] })),
  ]);
  const names = catalog.data.flatMap((one) => [one.id, ...one.aliases]).map((name) => name.toLowerCase());
  return { options: info.deployment_options, names: new Set(names) };
}

function form(entry, known, close) {
  const element = template("form-deploy");
  const parts = partsOf(element);
  parts.sourceField.hidden = Boolean(entry);
  parts.variantField.hidden = !entry;
  const fields = optionFields(known.options);
  parts.options.append(fields.element);
  if (entry) offer(entry, parts);
  else watchSource(parts, known.names);
  parts.cancel.addEventListener("click", () => close(null));
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!entry && say(parts, faultOf(parts.source.value, known.names))) return parts.source.focus();
    return send(parts, close, () => call("POST", "/v1/deployments", { body: request(entry, parts, fields.read()) }));
  });
  return element;
}

function changing(status, known, close) {
  const element = template("form-deploy");
  const parts = partsOf(element);
  for (const part of ["sourceField", "variantField", "idField", "asField"]) parts[part].hidden = true;
  parts.about.append(notice(status.state === "ready" ? "warn" : "", status.state === "ready"
    ? "Running requests may finish. Until the model is loaded again, new ones for it are refused."
    : "The model is loaded again with these options.",
  status.default ? " It is the model that the server was started with, so the changes last until the server ends." : ""));
  const fields = optionFields(known.options, status.options);
  parts.options.append(fields.element);
  parts.more.open = true;
  parts.pinned.checked = status.pinned;
  parts.submit.textContent = "Save and load again";
  parts.cancel.addEventListener("click", () => close(null));
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    const { as_family: family } = status.options;
    const options = { ...fields.read(), ...(family && { as_family: family }) };
    const path = `/v1/deployments/${encodeURIComponent(status.id)}`;
    send(parts, close, () => call("PATCH", path, { body: { pinned: parts.pinned.checked, options } }));
  });
  return element;
}

/** Send once, however often somebody presses the button; a refusal stays in the dialog. */
async function send(parts, close, sending) {
  if (parts.submit.getAttribute("aria-busy") === "true") return;
  parts.fault.textContent = "";
  parts.submit.setAttribute("aria-busy", "true");
  try {
    close(await sending());
  } catch (error) {
    parts.fault.textContent = inWords(error);
    parts.fault.scrollIntoView({ block: "nearest" });
  } finally {
    parts.submit.removeAttribute("aria-busy");
  }
}

/** Say what is wrong at the field of the model; give whether anything is. */
function say(parts, fault) {
  parts.source.toggleAttribute("aria-invalid", false);
  if (fault) parts.source.setAttribute("aria-invalid", "true");
  parts.sourceFault.hidden = !fault;
  parts.sourceFault.textContent = fault ?? "";
  return Boolean(fault);
}

function watchSource(parts, names) {
  const take = (reference) => {
    parts.source.value = reference;
    say(parts, null);
    parts.source.focus();
  };
  const hub = new HubSearch(take);
  parts.hub.append(hub.element);
  parts.source.addEventListener("input", () => {
    const pasted = fromAddress(parts.source.value);
    if (pasted?.reference) return take(pasted.reference);
    if (pasted) return void hub.files(pasted.repo);
    return say(parts, parts.source.value.trim() ? faultOf(parts.source.value, names) : null);
  });
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
  if (variant.checkpoint && !variant.installed) {
    said.push(notice("warn", `${PENDING}: nobody publishes it as GGUF. Make the file on the server first, with `, h("code", null, `rerankd convert ${entry.id}`), "."));
  }
  if (entry.needs_acceptance) {
    said.push(notice("warn", `${licence(entry)} The server accepts it only if it was started with `,
      h("code", null, "--accept-license"), "."));
  }
  return said;
}

export const licence = (entry) =>
  (entry.non_commercial ? `Its licence, ${entry.license}, forbids commercial use.` : `Its licence could not be confirmed (${entry.license}).`);

function request(entry, parts, options) {
  return {
    model: entry ? reference(entry, parts.variant.value) : parts.source.value.trim(),
    ...(parts.id.value.trim() && { id: parts.id.value.trim() }),
    ...(parts.asFamily.value.trim() && { as: parts.asFamily.value.trim() }),
    ...(parts.pinned.checked && { pinned: true }),
    ...(Object.keys(options).length && { options }),
  };
}

const reference = (entry, variant) => (variant === entry.default ? entry.id : `${entry.id}:${variant}`);
