import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Linux's O_PATH, which Node has no name for: the descriptor names a file without opening it. */
const O_PATH = 0o10000000;
/** A backlog that is full says "try again". */
const RETRY_MS = [1, 2, 5, 10, 20, 50, 100, 200];

/** The name of a socket in the scratch directory. @throws RangeError for any other path: nothing else may be connected to */
export function scratchName(path: string): string {
  const name = /^\/tmp\/([^/\0]{1,100})$/.exec(path)?.[1];
  if (name === undefined || name === "." || name === "..")
    throw new RangeError(`${JSON.stringify(path)} is not directly in the sandbox's /tmp`);
  return name;
}

/** The only child of a sandbox's outermost process: pid 1 inside. @throws Error when the sandbox is gone */
export function innermostInit(outer: number): number {
  const [init] = readFileSync(`/proc/${outer}/task/${outer}/children`, "utf8").split(" ");
  if (!init) throw new Error("the sandbox has no process");
  return Number(init);
}

/**
 * Connects to the unix socket at a path whose last part was made by user code and whose other parts were not. The last part is pinned without being
 * followed and looked at first: a link, a fifo or a file in its place is never opened, and what was looked at is what is connected to, whatever is
 * put there meanwhile.
 * `check` is called once the file is pinned, and throws when the path was not what it seemed.
 * @throws Error with the kernel's code; ENOTSOCK for what is no socket
 */
export async function connectToSocket(path: string, check: () => void = () => undefined): Promise<Socket> {
  for (const pause of RETRY_MS) {
    try {
      return await connectOnce(path, check);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
    await sleep(pause);
  }
  return connectOnce(path, check);
}

async function connectOnce(path: string, check: () => void): Promise<Socket> {
  const descriptor = openSync(path, O_PATH | constants.O_NOFOLLOW);
  try {
    check();
    if (!fstatSync(descriptor).isSocket())
      throw Object.assign(new Error("there is no socket at this path"), { code: "ENOTSOCK" });
    return await new Promise<Socket>((resolve, reject) => {
      const socket = connect({ path: `/proc/self/fd/${descriptor}` });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(socket);
      });
    });
  } finally {
    closeSync(descriptor);
  }
}
