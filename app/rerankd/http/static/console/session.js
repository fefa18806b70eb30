const STORED = "rerankd.key";

/** The person before the screen and what their key allows. */
let me = { id: "", name: "", scopes: ["inference", "manage"], models: null, keyed: false };

export const changes = new EventTarget();

/** The key is kept for this tab, or for the browser where somebody asked to stay signed in. */
export const keyOf = () => sessionStorage.getItem(STORED) ?? localStorage.getItem(STORED);
export const whoAmI = () => me;
export const may = (scope) => me.scopes.includes(scope);

export function remember(key, { stay = false } = {}) {
  sessionStorage.removeItem(STORED);
  localStorage.removeItem(STORED);
  if (key) (stay ? localStorage : sessionStorage).setItem(STORED, key);
}

/** Call back when another tab signs in for all tabs, or signs out. */
export function onOtherTabs(callback) {
  window.addEventListener("storage", (event) => {
    if (event.key === STORED || event.key === null) callback();
  });
}

export function become(found) {
  me = found;
  changes.dispatchEvent(new Event("change"));
}

/** Have everything drawn anew, as whoever is signed in now. */
export const drawAgain = () => changes.dispatchEvent(new Event("again"));

/** Why managing is out of reach, or null where it isn't. */
export function whyNotManage() {
  if (may("manage")) return null;
  return me.keyed
    ? "This key does not have the scope “manage”. Sign in with one that does."
    : "Without an API key, the server can be managed only from its own machine.";
}
