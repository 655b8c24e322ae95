import { spawn } from "node:child_process";
import { once } from "node:events";
import { type IncomingHttpHeaders, request } from "node:http";
import { connect, createServer } from "node:net";
import { expect } from "vitest";

interface FissionServer extends AsyncDisposable {
  stdout(): string;
  send(
    method: string,
    path: string,
    body?: string,
    headers?: Record<string, string>,
  ): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }>;
}

/** A runtime server as a generic container of Fission, on a free port. `code`: what stands for /userfunc/user. */
export async function startFission(command: readonly string[], code: string): Promise<FissionServer> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/bin:/bin", TREADLE_FISSION: "1", PORT: String(port), TREADLE_CODE: code, TREADLE_LOGS: "/nonexistent" },
  });
  const exited = once(child, "exit");
  let stdout = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      stdout += text;
    });
  }
  await expect.poll(() => stdout, { timeout: 5000 }).toContain("HTTP server successfully started!");
  return {
    stdout: () => stdout,
    send: (method, path, body = "", headers = {}) =>
      new Promise((resolve, reject) => {
        const outgoing = request(
          {
            createConnection: () => connect(port, "127.0.0.1"),
            method,
            path,
            headers: { ...headers, "content-length": Buffer.byteLength(body) },
          },
          async (response) => {
            let text = "";
            for await (const chunk of response) text += chunk;
            resolve({ status: response.statusCode as number, headers: response.headers, text });
          },
        );
        outgoing.on("error", reject);
        outgoing.end(body);
      }),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
