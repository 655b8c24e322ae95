/** Bytes as a field of JSON: under `text` when they are UTF-8, else under `base64`. */
export function textOrBase64<T extends string, B extends string>(content: Buffer, text: T, base64: B): { [K in T | B]?: string } {
  const decoded = content.toString("utf8");
  const isText = Buffer.from(decoded).equals(content);
  return { [isText ? text : base64]: isText ? decoded : content.toString("base64") } as { [K in T | B]?: string };
}
