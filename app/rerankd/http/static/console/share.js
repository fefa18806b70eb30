/** A playground's state in a URL's fragment, which browsers never send to a server. */
const through = async (data, transform) =>
  new Uint8Array(await new Response(new Blob([data]).stream().pipeThrough(transform)).arrayBuffer());

export async function pack(state) {
  const plain = new TextEncoder().encode(JSON.stringify(state));
  const packed = await through(plain, new CompressionStream("deflate-raw"));
  const binary = Array.from(packed, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Give the state back, or null for what is no state. */
export async function unpack(text) {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const packed = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const plain = await through(packed, new DecompressionStream("deflate-raw"));
    const state = JSON.parse(new TextDecoder().decode(plain));
    return typeof state === "object" ? state : null;
  } catch {
    return null;
  }
}
