const STORED = "rerankd.key";

/** The person before the screen: their key, kept for this tab alone, and what it allows. */
let me = { id: "", name: "", scopes: ["inference", "manage"], models: null, keyed: false };

export const changes = new EventTarget();

export const keyOf = () => sessionStorage.getItem(STORED);
export const whoAmI = () => me;
export const may = (scope) => me.scopes.includes(scope);

export function remember(key) {
  if (key) sessionStorage.setItem(STORED, key);
  else sessionStorage.removeItem(STORED);
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
