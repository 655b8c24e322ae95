import { readFile } from "node:fs/promises";
import os from "node:os";
import { TreadleError } from "@treadle/errors";

/** A user to run a program as. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The account the database server runs as when Treadle is root, since Postgres refuses root. A fixed number nobody else has (in a range
 * that systemd and Debian leave unassigned, and below 65536 so that it exists in containers' user namespaces) rather than `postgres` or
 * `nobody`: another service of that name could read the data.
 */
export const DATABASE_ACCOUNT: Account = { uid: 60_880, gid: 60_880 };

export function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/**
 * How to run initdb, which insists on finding its user's name in the account database: as root, under an unprivileged account that has a name (its
 * files are handed over to DATABASE_ACCOUNT afterwards); as a named user, as that; as a user without a name (a container started with an
 * arbitrary uid), in a user namespace where the uid appears as `nobody`.
 */
export async function initdbAccount(): Promise<{ account: Account | null; prefix: readonly string[] }> {
  const named = await namedAccounts();
  const nobody = named.get("nobody") ?? [...named.values()].find((account) => account.uid !== 0);
  if (isRoot()) {
    if (nobody === undefined)
      throw new TreadleError("INVALID_SETTING", "/etc/passwd names no unprivileged account that initdb could run as.");
    return { account: nobody, prefix: [] };
  }
  try {
    os.userInfo();
    return { account: null, prefix: [] };
  } catch {
    const { uid, gid } = nobody ?? { uid: 65_534, gid: 65_534 };
    return {
      account: null,
      prefix: ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--uid", `${uid}`, "--gid", `${gid}`, "--"],
    };
  }
}

async function namedAccounts(): Promise<Map<string, Account>> {
  const lines = (await readFile("/etc/passwd", "utf8").catch(() => "")).split("\n");
  return new Map(
    lines.flatMap((line) => {
      const [name, , uid, gid] = line.split(":");
      return name && uid && gid ? [[name, { uid: Number(uid), gid: Number(gid) }] as const] : [];
    }),
  );
}
