import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { ownEnvironment, startCliServer } from "./cli-server.ts";
import { type Block, blocksOf, pages, ROOT } from "./docs-pages.ts";

// Blocks of a page, in order, against a server of its own:
//   ```sh            is run from a folder that has bin/ and examples/ of the checkout; it must end with status 0
//   ```json          right after it: what it printed, as JSON; values that change from run to run need only be of the same kind
//   ```output        right after it: what it printed, line by line; `…` stands for anything
//   ```LANG file=X   is written to X
//   any other block is for reading
const RUN = pages().filter((page) => blocksOf(page).some(({ language }) => language === "sh"));

test("README and guides have commands to run", () => {
  expect(RUN).toEqual(expect.arrayContaining(["README.md", "docs/guides/getting-started.md", "docs/guides/dependencies.md"]));
});

test.each(RUN)("%s: commands do what the page says", { timeout: 180_000 }, async (page) => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-docs-test-"));
  try {
    await using server = await startCliServer();
    await cp(join(ROOT, "examples"), join(folder, "examples"), { recursive: true });
    // curl shows its progress to whoever is not a terminal.
    await writeFile(join(folder, ".curlrc"), "silent\nshow-error\n");
    const env = {
      ...ownEnvironment(),
      PATH: `${join(ROOT, "bin")}:${process.env.PATH}`,
      TREADLE_SERVER: server.url,
      CURL_HOME: folder,
      HOME: folder,
    };
    let printed: string | null = null;
    for (const block of blocksOf(page)) {
      const place = `${page}:${block.line}`;
      if (block.file !== null) {
        await mkdir(dirname(join(folder, block.file)), { recursive: true });
        await writeFile(join(folder, block.file), block.text);
      } else if (block.language === "sh") {
        const { status, output } = await shell(
          block.text.replaceAll(/http:\/\/localhost:4000|localhost:4000/g, server.url),
          folder,
          env,
        );
        expect({ place, status, output: status === 0 ? "" : output }).toEqual({ place, status: 0, output: "" });
        printed = output.replaceAll(server.url, "http://localhost:4000");
        continue;
      } else if (printed !== null && (block.language === "json" || block.language === "output")) {
        if (block.language === "json")
          expect({ place, json: alike(JSON.parse(printed)) }).toEqual({ place, json: alike(parsed(block, place)) });
        else expectLines(printed, block, place);
      }
      printed = null;
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

async function shell(script: string, cwd: string, env: NodeJS.ProcessEnv): Promise<{ status: number | null; output: string }> {
  const child = spawn("bash", ["-euo", "pipefail", "-c", `exec 2>&1\n${script}`], {
    cwd,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const [status] = (await once(child, "close")) as [number | null];
  return { status, output };
}

function parsed(block: Block, place: string): unknown {
  try {
    return JSON.parse(block.text);
  } catch (error) {
    throw new Error(`${place}: not JSON: ${String(error)}`);
  }
}

const CHANGES = /^(id|duration|.*Ms|.*At|time|updatedAt|sourceDigest|version|memoryBytes|lock|log|pid)$/;

/** The same with what changes from run to run replaced by its kind. */
function alike(value: unknown, key = ""): unknown {
  if (CHANGES.test(key)) return value === null ? "null" : typeof value;
  if (Array.isArray(value)) return value.map((item) => alike(item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, alike(item, name)]));
}

function expectLines(printed: string, block: Block, place: string): void {
  const pattern = block.text
    .trimEnd()
    .split("…")
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    .join("[^\\n]*");
  if (!new RegExp(`^${pattern}$`).test(printed.trimEnd()))
    expect({ place, output: printed.trimEnd() }).toEqual({ place, output: block.text.trimEnd() });
}
