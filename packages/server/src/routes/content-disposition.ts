/**
 * `attachment` with the file's name (RFC 6266): plain for old clients, and in UTF-8 (RFC 5987) where that does not say it all. A name may hold anything;
 * what comes out is safe in a header.
 */
export function attachment(name: string): string {
  const clean = name.toWellFormed();
  const plain = clean.replaceAll(/[^\x20-\x7e]|["\\%]/g, "_");
  const encoded = encodeURIComponent(clean).replaceAll(/['()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
  return plain === clean ? `attachment; filename="${plain}"` : `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}
