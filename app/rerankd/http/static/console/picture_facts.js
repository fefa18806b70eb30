/** What an answer says of its pictures. */

/** The sizes in which a model saw the pictures, by the index of their document; null is the query. */
export function sizesIn(meta) {
  const found = new Map();
  for (const one of meta.pictures ?? []) found.set(one.index, [...(found.get(one.index) ?? []), one]);
  return found;
}

/** What a document's pictures were scaled to, in words; null for a document without one. */
export function scaledTo(sizes, picture) {
  if (!sizes) return null;
  const seen = sizes.map(({ width, height }) => `${width} × ${height}`).join(", ");
  const whole = picture?.width && sizes.length === 1 ? `${picture.width} × ${picture.height}` : seen;
  return `${sizes.length > 1 ? "pictures" : "picture"} of ${whole === seen ? seen : `${whole}, scaled to ${seen}`} pixels`;
}
