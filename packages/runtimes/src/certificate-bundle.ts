import { realpathSync } from "node:fs";
import type { RuntimeMount } from "./runtime.ts";

const INSIDE = "/certificates/bundle.pem";
const BUNDLES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/** The certificates that this machine trusts (`SSL_CERT_FILE`, else the system's bundle), for a step that fetches from registries. */
export function certificateBundle(): {
  readonly mounts: readonly RuntimeMount[];
  readonly environment: Readonly<Record<string, string>>;
} {
  for (const file of [process.env.SSL_CERT_FILE, ...BUNDLES]) {
    if (file === undefined || !file.startsWith("/")) continue;
    try {
      return {
        mounts: [{ source: realpathSync(file), target: INSIDE, access: "read-only" }],
        environment: { SSL_CERT_FILE: INSIDE },
      };
    } catch {
      // The next one.
    }
  }
  return { mounts: [], environment: {} };
}
