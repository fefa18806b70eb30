/** Pictures kept in this browser alone, in IndexedDB: localStorage is too small for them. */
const NAME = "rerankd";
const PICTURES = "pictures";
export const MOST_KEPT_BYTES = 128 * 1024 * 1024;

let opening = null;

/** The database, or null where the browser allows none, as in some private windows. */
function database() {
  opening ??= new Promise((resolve) => {
    try {
      const asked = indexedDB.open(NAME, 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore(PICTURES, { keyPath: "id" });
      asked.onsuccess = () => {
        asked.result.onversionchange = () => asked.result.close();
        resolve(asked.result);
      };
      asked.onerror = () => resolve(null);
      asked.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opening;
}

/** Run a transaction; null for one that failed, as it does where the disk is full. */
async function within(mode, work) {
  const found = await database();
  if (!found) return null;
  return new Promise((resolve) => {
    try {
      const transaction = found.transaction(PICTURES, mode);
      const answer = work(transaction.objectStore(PICTURES));
      transaction.oncomplete = () => resolve(answer);
      transaction.onabort = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
}

export const put = (picture) => within("readwrite", (pictures) => void pictures.put(picture));
export const clear = () => within("readwrite", (pictures) => void pictures.clear());

/** Return the pictures of these ids that are there. */
export async function get(ids) {
  if (!ids.length) return [];
  const asked = await within("readonly", (pictures) => ids.map((id) => pictures.get(id)));
  return (asked ?? []).map((one) => one.result).filter(Boolean);
}

/** Delete all but these, and of these the last ones where they take too much room together. */
export async function keepOnly(ids) {
  const kept = await within("readonly", (pictures) => pictures.getAll());
  if (!kept) return;
  const bytes = new Map(kept.result.map((one) => [one.id, one.bytes]));
  let room = MOST_KEPT_BYTES;
  const stays = new Set(ids.filter((id) => (room -= bytes.get(id) ?? 0) >= 0));
  const goes = [...bytes.keys()].filter((id) => !stays.has(id));
  await within("readwrite", (pictures) => goes.forEach((id) => pictures.delete(id)));
}
