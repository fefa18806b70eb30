const SVG = "http://www.w3.org/2000/svg";

const kept = (value) => value !== undefined && value !== null && value !== false;

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (kept(value)) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(kept));
  return element;
}

/** Build an element: functions become listeners; null, undefined and false are left out. */
export function h(tag, props, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** Build an SVG element in the same way. */
export function s(tag, props, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

/** Draw an icon of the sheet in console.html; the words beside it tell what it means. */
export function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#icon-${name}` }));
}

/** Clone a template of console.html. */
export function template(id) {
  return document.getElementById(id).content.cloneNode(true).firstElementChild;
}

/** Give the elements of a part by their data-part, so that no ids need to be unique. */
export function partsOf(root) {
  const found = [...root.querySelectorAll("[data-part]")];
  return Object.fromEntries(found.map((element) => [element.dataset.part, element]));
}

/** Set a size in percent. The policy forbids style attributes, not the object model. */
export function sized(element, percent, side = "width") {
  element.style.setProperty(side, `${Math.max(0, Math.min(100, percent))}%`);
  return element;
}

/** A definition list of the pairs whose value is known. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => kept(value) && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) =>
    h("div", null, h("dt", null, name), h("dd", null, value))));
}

export function badge(kind, text, iconName) {
  return h("span", { class: `badge ${kind}` }, iconName && icon(iconName), text);
}

export function notice(kind, ...children) {
  return h("div", { class: `notice ${kind}` },
    icon(kind === "bad" || kind === "warn" ? "alert" : "info"), h("div", null, ...children));
}

/** Fill a select, keeping its choice where that is still offered; the first time, the first one. */
export function choices(select, pairs) {
  const before = select.options.length ? select.value : null;
  select.replaceChildren(...pairs.map(([value, text]) => h("option", { value }, text)));
  if (pairs.some(([value]) => value === before)) select.value = before;
}

/** Mark a button as one that can't be used, with the reason where people look for it. */
export function disable(button, reason) {
  if (reason) button.setAttribute("aria-disabled", "true");
  else button.removeAttribute("aria-disabled");
  button.title = reason ?? "";
}
