import { keyOf } from "./session.js";

/** What the server, or the way to it, said no with. `code` is stable, `message` is for people. */
export class ApiError extends Error {
  constructor(status, code, message, { param = null, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, code, param, retryAfter });
  }
}

/** Tells of calls that were refused for want of a key; main.js asks for one. */
export const refusals = new EventTarget();

/** The address of the server without a slash at the end; it may be below a proxy's prefix. */
export const base = new URL(".", document.baseURI).href.replace(/\/$/, "");

const rooted = (path) => `${base}${path}`;

function headersFor(body) {
  const key = keyOf();
  return {
    ...(key && { Authorization: `Bearer ${key}` }),
    ...(body !== undefined && { "Content-Type": "application/json" }),
  };
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const error = typeof body.error === "object" && body.error !== null ? body.error : body;
  const message = error.message ?? body.message ?? response.statusText;
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const code = error.code ?? "error";
  return new ApiError(response.status, code, message, { param: error.param ?? null, retryAfter });
}

async function send(method, path, { body, signal, quiet = false } = {}) {
  let response;
  try {
    response = await fetch(rooted(path), {
      method,
      signal,
      headers: headersFor(body),
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "the server cannot be reached");
  }
  if (response.ok) return response;
  const refused = await refusal(response);
  if (refused.status === 401 && !quiet) refusals.dispatchEvent(new Event("unauthorized"));
  throw refused;
}

/** Call the API; give the decoded answer and how long it took. Throws ApiError. */
export async function timed(method, path, options) {
  const begun = performance.now();
  const response = await send(method, path, options);
  return { reply: await response.json(), milliseconds: performance.now() - begun };
}

export async function call(method, path, options) {
  return (await timed(method, path, options)).reply;
}

/** Yield the data of server-sent events until the stream ends or the signal says so. */
export async function* events(path, signal) {
  const response = await send("GET", path, { signal, quiet: true });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value.replaceAll("\r", "");
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => line.startsWith("data:"));
      const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
      if (data) yield JSON.parse(data);
    }
  }
}

/** An error in words, with its code for those who search for it. */
export function inWords(error) {
  if (!(error instanceof ApiError)) return `Unexpected: ${error.message}`;
  const said = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  const field = error.param ? ` Field: ${error.param}.` : "";
  const again = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "";
  const status = error.status ? `${error.status} ${error.code}` : error.code;
  return `${said.replace(/[.!]?$/, ".")}${field}${again} (${status})`;
}
