import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createGunzip } from "node:zlib";

/** A repository of git's own, served over HTTP on a loopback port by git's own upload-pack. */
export class GitServer implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "treadle-git-"));
  readonly requests: string[] = [];
  readonly #server = createServer((request, response) => this.#answer(request, response));

  static async start(): Promise<GitServer> {
    const server = new GitServer();
    server.git("init", "-q", "-b", "main");
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get place(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `http://${this.place}/owner/name.git`;
  }

  git(...args: string[]): string {
    const env = {
      ...process.env,
      ...{ GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" },
      ...{
        GIT_AUTHOR_NAME: "a",
        GIT_AUTHOR_EMAIL: "a@example.com",
        GIT_COMMITTER_NAME: "a",
        GIT_COMMITTER_EMAIL: "a@example.com",
      },
    };
    return execFileSync("git", args, { cwd: this.folder, env, encoding: "utf8" }).trim();
  }

  write(files: Readonly<Record<string, string>>, executable: readonly string[] = []): void {
    for (const [name, text] of Object.entries(files)) {
      const path = join(this.folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
      if (executable.includes(name)) chmodSync(path, 0o755);
    }
  }

  /** Commits all that is there; returns the commit. */
  commit(message: string): string {
    this.git("add", "-A");
    this.git("commit", "-q", "-m", message);
    return this.git("rev-parse", "HEAD");
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? "";
    this.requests.push(`${request.method} ${url}`);
    const env = { ...process.env, GIT_PROTOCOL: String(request.headers["git-protocol"] ?? "") };
    if (url === "/owner/name.git/info/refs?service=git-upload-pack") {
      response.setHeader("content-type", "application/x-git-upload-pack-advertisement");
      const line = "# service=git-upload-pack\n";
      response.write(`${(line.length + 4).toString(16).padStart(4, "0")}${line}0000`);
      spawn("git", ["upload-pack", "--stateless-rpc", "--advertise-refs", this.folder], { env }).stdout.pipe(response);
    } else if (url === "/owner/name.git/git-upload-pack") {
      response.setHeader("content-type", "application/x-git-upload-pack-result");
      const child = spawn("git", ["-c", "uploadpack.allowAnySHA1InWant=true", "upload-pack", "--stateless-rpc", this.folder], {
        env,
      });
      (request.headers["content-encoding"] === "gzip" ? request.pipe(createGunzip()) : request).pipe(child.stdin);
      child.stdout.pipe(response);
    } else if (url.startsWith("/moved/")) {
      response.writeHead(302, { location: `http://localhost:1${url.slice(6)}` }).end();
    } else response.writeHead(404).end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
    rmSync(this.folder, { recursive: true });
  }
}
