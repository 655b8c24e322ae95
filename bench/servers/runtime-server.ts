import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PYTHON } from "../measure/machine.ts";
import { ROOT } from "./treadle.ts";

const START_MS = 30_000;

/** A language's own runtime server as a plain process on a TCP port, with nothing in front: what calls through Treadle are compared with. */
export class RuntimeServer implements AsyncDisposable {
  readonly url: string;
  /** When its process was started, as of performance.now(). */
  readonly spawnedAt: number;
  readonly #end: () => Promise<void>;

  private constructor(url: string, spawnedAt: number, end: () => Promise<void>) {
    this.url = url;
    this.spawnedAt = spawnedAt;
    this.#end = end;
  }

  /**
   * Starts `launch.sh` of a language on a folder with a function, or on the layers of a deployment. @throws Error when it does not say that it is ready
   */
  static async start(
    language: string,
    entrypoint: string,
    code: string,
    dependencies: string | null = null,
  ): Promise<RuntimeServer> {
    const port = await freePort();
    const script = join(ROOT, "packages", "runtimes", language, "launch.sh");
    const spawnedAt = performance.now();
    const child = spawn("/bin/sh", [script, code], {
      cwd: tmpdir(),
      // A group of its own, so that a launch script that does not become the server is ended with it.
      detached: true,
      stdio: ["ignore", "pipe", "ignore"],
      env: {
        PATH: process.env.PATH,
        HOME: tmpdir(),
        PORT: String(port),
        OPEN_RUNTIMES_ENTRYPOINT: entrypoint,
        OPEN_RUNTIMES_SECRET: "",
        // The interpreter that Treadle takes, too.
        TREADLE_PYTHON: PYTHON,
        ...(dependencies === null ? {} : { TREADLE_DEPENDENCIES: dependencies }),
      },
    });
    const exited = once(child, "exit");
    const end = async () => {
      try {
        process.kill(-(child.pid as number), "SIGKILL");
      } catch {
        // It has ended.
      }
      await exited;
    };
    const ready = new Promise<boolean>((resolve) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        if (line.includes("HTTP server successfully started!")) resolve(true);
      });
      void exited.then(() => resolve(false));
      setTimeout(resolve, START_MS, false).unref();
    });
    if (await ready) return new RuntimeServer(`http://127.0.0.1:${port}`, spawnedAt, end);
    await end();
    throw new Error(`the ${language} server did not start`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}
