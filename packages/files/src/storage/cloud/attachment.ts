/**
 * The value of Content-Disposition that makes a browser save the answer under a name (RFC 6266, RFC 8187): the name as UTF-8, and an ASCII likeness for
 * old readers. Never `inline`: what people upload must not become a page of the storage's domain.
 */
export function attachment(fileName: string): string {
  const name = fileName.toWellFormed().replace(/[\p{Cc}/\\]/gu, "_");
  const ascii = name.replace(/[^\x20-\x7e]|["%;]/g, "_");
  const encoded = encodeURIComponent(name).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return ascii === name ? `attachment; filename="${ascii}"` : `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}
