const UNITS = ["B", "kB", "MB", "GB", "TB"];
const grouped = new Intl.NumberFormat("en");
const compactly = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS = [[60, "second"], [3600, "minute"], [86400, "hour"], [Infinity, "day"]];
const LENGTHS = { second: 1, minute: 60, hour: 3600, day: 86400 };

export const count = (value) => grouped.format(value);
export const compact = (value) => compactly.format(value);
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** Bytes in decimal units, as model hubs show them. */
export function bytes(value) {
  const power = value < 1 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), UNITS.length - 1);
  const scaled = value / 1000 ** power;
  return `${scaled >= 100 || power === 0 ? Math.round(scaled) : scaled.toFixed(1)} ${UNITS[power]}`;
}

export function milliseconds(value) {
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  return value >= 10 || value === 0 ? `${count(Math.round(value))} ms` : `${value.toFixed(1)} ms`;
}

/** A span in the two units that matter. */
export function span(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** A Unix time told from now, such as "3 minutes ago" or "in 2 days". */
export function fromNow(time) {
  const seconds = time - Date.now() / 1000;
  if (Math.abs(seconds) < 5) return "just now";
  const [, unit] = STEPS.find(([limit]) => Math.abs(seconds) < limit);
  return relative.format(Math.round(seconds / LENGTHS[unit]), unit);
}

export const dateTime = (time) =>
  new Date(time * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
export const clock = (time) =>
  new Date(time * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
const weekday = (time) => new Date(time * 1000).toLocaleString("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" });
/** Days are those of UTC, as the server counts them. */
const day = (time) => new Date(time * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
/** How moments are written where one step of time takes so many seconds. */
export const momentOf = (step) => (step >= LENGTHS.day ? day : step >= LENGTHS.hour ? weekday : clock);
export const clockSeconds = (time) => new Date(time * 1000).toLocaleTimeString("en-GB");

/** A score with as many places as tell neighbours apart. */
export function score(value, scale) {
  if (scale === "logit") return value.toFixed(3);
  return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : value.toFixed(3);
}
