import { randomBytes } from "node:crypto";

/** An answer as multipart/form-data, the form in which a body may be binary. */
export function multipartAnswer(fields: Readonly<Record<string, unknown>>): { readonly type: string; readonly body: Buffer } {
  const boundary = `-----------------------------${randomBytes(12).toString("hex")}`;
  const parts = Object.entries(fields).flatMap(([name, value]) => {
    const isJson = typeof value === "object" && !Buffer.isBuffer(value);
    const type = isJson ? "\r\nContent-Type: application/json" : "";
    const content = Buffer.isBuffer(value) ? value : Buffer.from(isJson ? JSON.stringify(value) : String(value));
    return [
      Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${type}\r\n\r\n`),
      content,
      Buffer.from("\r\n"),
    ];
  });
  return {
    type: `multipart/form-data; boundary=${boundary}`,
    body: Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]),
  };
}
