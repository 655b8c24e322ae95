const SHORTEST = 6;
const MASK = "***";

/** Takes values of secrets out of a text. */
export type Mask = (text: string) => string;

/**
 * A mask for these values, null when none is long enough to be told from ordinary words. A value is found as it is, line by line when it has several, and as it
 * looks in JSON, in addresses (percent-encoded) and in base64, there also in the middle of something longer that was encoded as a whole (a Basic authorization).
 */
export function maskOf(values: Iterable<string>): Mask | null {
  const forms = new Set<string>();
  for (const value of values) {
    for (const part of new Set([value, ...value.split(/\r?\n/).map((line) => line.trim())])) {
      if (part.length < SHORTEST) continue;
      for (const form of formsOf(part)) if (form.length >= SHORTEST) forms.add(form);
    }
  }
  if (forms.size === 0) return null;
  // The longest first: one form may begin another.
  const pattern = [...forms]
    .sort((a, b) => b.length - a.length)
    .map((form) => form.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"))
    .join("|");
  const found = new RegExp(pattern, "g");
  return (text) => text.replace(found, MASK);
}

function formsOf(value: string): string[] {
  const encoded = encodeURIComponent(value);
  return [
    value,
    JSON.stringify(value).slice(1, -1),
    encoded,
    encoded.replaceAll("%20", "+"),
    encoded.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
    ...base64Forms(Buffer.from(value)),
  ];
}

/** Base64 of the value at each of its three alignments, without the characters at its ends that neighbours have a part in. */
function base64Forms(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    const start = before === 0 ? 0 : before + 1;
    const wholeGroups = Math.floor((before + bytes.length) / 3) * 4;
    const rest = (before + bytes.length) % 3;
    const form = text.slice(start, wholeGroups + rest);
    return form.length < 8 ? [] : [form, form.replaceAll("+", "-").replaceAll("/", "_")];
  });
}
