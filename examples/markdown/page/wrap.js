/** A whole page around the HTML. The title comes from the address: it is escaped. */
export function wrap(title, html) {
  const escaped = decodeURIComponent(title).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
  return `<!doctype html>\n<title>${escaped}</title>\n${html}`;
}
