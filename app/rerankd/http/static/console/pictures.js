/**
 * Pictures that were dropped, pasted or chosen: decoded once for a thumbnail, else kept as files.
 *
 * Requests and kept runs hold references to them, which are replaced on the way to the server.
 */
import * as store from "./picture_store.js";

export const TYPES = ["image/png", "image/jpeg", "image/webp", "image/gif"];
export const MOST_PICTURES = 100;
export const MOST_PICTURE_BYTES = 20 * 1024 * 1024;
const THUMBNAIL = 192;
const SCHEME = "picture:";

const open = new Map();

export const referenceTo = (id) => SCHEME + id;

/** The picture that a reference or an id is of; undefined for one that is no longer kept. */
export const pictureOf = (reference) => open.get(String(reference).replace(SCHEME, ""));

/** The address in a document, query or content part that holds a picture, else null. */
export function addressIn(content) {
  if (Array.isArray(content)) return content.map(addressIn).find(Boolean) ?? null;
  if (typeof content !== "object" || content === null) return null;
  const address = content.image ?? content.image_url?.url ?? content.image_url ?? content.content;
  return typeof address === "string" ? address : addressIn(address);
}

/** What can be shown for an address: our own pictures' thumbnails, and pictures that stand in it. */
export function shownAt(address) {
  if (address.startsWith(SCHEME)) return pictureOf(address) ?? { name: "a picture that is no longer kept" };
  return address.startsWith("data:image/") ? { name: "picture", thumbnail: address } : { name: address };
}

/** Take a file. Throws an Error that says for people why it can't be. */
export async function take(file) {
  if (file.size > MOST_PICTURE_BYTES) throw new Error(`${file.name} is larger than ${MOST_PICTURE_BYTES >> 20} MiB`);
  const drawn = await drawnOf(file).catch(() => null);
  if (!drawn) throw new Error(`${file.name} is no picture that can be read: PNG, JPEG, WebP and GIF can`);
  const picture = { id: freshId(), name: file.name, type: file.type, file, bytes: file.size, ...drawn };
  open.set(picture.id, picture);
  store.put(picture);
  return picture;
}

// Not crypto.randomUUID: browsers have that only where a page came over TLS or from this machine.
const freshId = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;

/** Its size and a thumbnail, in an address that the page's policy allows. */
async function drawnOf(file) {
  if (!TYPES.includes(file.type)) return null;
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  const scale = Math.min(1, THUMBNAIL / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // where a picture is transparent, as the server has it
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return { width, height, thumbnail: canvas.toDataURL("image/jpeg", 0.85) };
}

/** Open pictures that were kept in this browser; returns the ids of those that are there. */
export async function reopen(ids) {
  const missing = ids.filter((id) => !open.has(id));
  for (const picture of await store.get(missing)) open.set(picture.id, picture);
  return ids.filter((id) => open.has(id));
}

/** Keep these pictures alone, the first ones where there is no room for all. */
export function keepOnly(ids) {
  for (const id of open.keys()) if (!ids.includes(id)) open.delete(id);
  return store.keepOnly(ids);
}

export function forget() {
  open.clear();
  return store.clear();
}

/** Replace the references in a request by the pictures. */
export async function withPictures(body) {
  const found = new Map();
  const references = (value) => {
    if (typeof value === "string" && value.startsWith(SCHEME)) found.set(value, pictureOf(value));
    else if (typeof value === "object" && value !== null) Object.values(value).forEach(references);
  };
  references([body.query, body.documents]);
  if (!found.size) return body;
  const data = new Map(await Promise.all([...found].map(async ([reference, picture]) => [reference, picture ? await dataOf(picture.file) : reference])));
  const replaced = (value) => {
    if (typeof value === "string") return data.get(value) ?? value;
    if (Array.isArray(value)) return value.map(replaced);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, replaced(one)]));
  };
  return { ...body, query: replaced(body.query), documents: replaced(body.documents) };
}

function dataOf(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
