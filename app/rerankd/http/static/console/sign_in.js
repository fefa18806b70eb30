import { ApiError, call, inWords } from "./client.js";
import { button, open } from "./dialogs.js";
import { h, notice, partsOf, template } from "./dom.js";
import { forgetAll } from "./playground_store.js";
import { become, keyOf, remember, whoAmI } from "./session.js";

let asking = null;

/** Learn who is signed in. False where the server wants a key and has not got a right one. */
export async function identify() {
  try {
    const found = await call("GET", "/v1/me", { quiet: true });
    if (!found.keyed) remember(null); // the last key is gone: nobody asks for one any more
    become(found);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      remember(null);
      become({ id: "", name: "", scopes: [], models: null, keyed: true });
      return false;
    }
    throw error;
  }
}

/** Ask for a key until it is right or the person gives up. One dialog at a time. */
export function signIn(reason = "") {
  asking ??= open("Sign in", (close) => form(close, reason)).finally(() => { asking = null; });
  return asking;
}

function form(close, reason) {
  const element = template("form-sign-in");
  const parts = partsOf(element);
  if (reason) parts.reason.append(notice("warn", reason));
  const enter = async (event) => {
    event.preventDefault();
    remember(parts.key.value.trim(), { stay: parts.stay.checked });
    const fault = await identify().then((right) => (right ? null : "This key is not valid."), inWords);
    if (!fault) return close(true);
    parts.fault.textContent = fault;
    parts.key.setAttribute("aria-invalid", "true");
    return parts.key.focus();
  };
  element.addEventListener("submit", enter);
  parts.cancel.addEventListener("click", () => close(false));
  return element;
}

/** Show who is signed in, and the way out. */
export function showWho(place, onLeave) {
  const me = whoAmI();
  const out = async () => {
    remember(null);
    await onLeave();
    forgetAll(); // last, because a page that is left may keep what stands in it
  };
  const signed = Boolean(keyOf());
  place.replaceChildren(...[
    h("span", { class: "who-name muted" }, signed ? me.name || me.id : ""),
    signed && button("Sign out", out, "compact"),
  ].filter(Boolean));
}
