import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { findRuntimes } from "@treadle/runtimes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tarGzOf } from "../builds/archives.ts";
import { Workbench } from "../files/workbench.ts";

interface Case {
  readonly file: string;
  readonly good: string;
  /** What must not become active, and what is said of it. */
  readonly broken: Readonly<Record<string, readonly [source: string, says: RegExp]>>;
}

const { missing } = await findRuntimes();
const CASES: Readonly<Record<string, Case>> = {
  php: {
    file: "index.php",
    good: "<?php return fn ($context) => $context->res->text('good');",
    broken: {
      "a syntax error": ["<?php\nreturn function ($context) {\n", /ParseError.*index\.php:3/s],
      "a fatal error of its compiler": ["<?php\nfunction twice() {}\nfunction twice() {}\n", /Cannot redeclare.*index\.php:3/is],
      "an exit": ["<?php\nexit(3);\n", /ended its process/],
    },
  },
  ruby: {
    file: "main.rb",
    good: "def main(context) = context.res.text('good')\n",
    broken: {
      "a missing main": ["def other(context) = context.res.text('x')\n", /main\.rb has no function main/],
      "an exit": ["exit 3\n", /SystemExit|exit/],
    },
  },
  deno: {
    file: "main.ts",
    good: "export default ({ res }) => res.text('good');\n",
    broken: { "a throw": ["throw new RangeError('not today');\n", /not today/] },
  },
  bun: {
    file: "index.ts",
    good: "export default ({ res }) => res.text('good');\n",
    broken: { "a throw": ["throw new RangeError('not today');\n", /not today/] },
  },
};

async function deployed(bench: Workbench, language: string, file: string, text: string) {
  const archive = await tarGzOf([{ name: file, text }]);
  const source = { kind: "archive" as const, stream: Readable.from([archive]) };
  const { deployments } = bench.functions;
  const { version } = await deployments.create("loading", language, { source, language });
  for (let turn = 0; turn < 600; turn++) {
    const view = await deployments.get("loading", language, String(version));
    if (!view.activating && view.state !== "queued" && view.state !== "building") return view;
    await sleep(50);
  }
  throw new Error("the deployment did not settle");
}

async function call(bench: Workbench, language: string): Promise<string> {
  const request = { method: "GET", url: "/", headers: {}, body: new Uint8Array() };
  const execution = await bench.functions.call({ workspace: "loading", function: language, input: { kind: "handler", request } });
  const { outcome } = execution;
  return outcome?.state === "responded" ? String(outcome.body) : JSON.stringify(outcome);
}

describe.each([
  ["http", Object.keys(CASES)],
  ["frames", ["deno", "bun"]],
] as const)("a deployment over %s", (transport, languages) => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = await Workbench.set({ transport });
  }, 60_000);
  afterAll(() => bench[Symbol.asyncDispose]());

  test.for(languages)("in %s that does not load is refused when it is activated", { timeout: 120_000 }, async (language, ctx) => {
    const lacking = missing.find((each) => each.language === language);
    if (lacking !== undefined) ctx.skip(`${lacking.reason} ${lacking.remedy}`);
    const { file, good, broken } = CASES[language] as Case;
    const first = await deployed(bench, language, file, good);
    expect([first.state, first.active, first.activationError]).toEqual(["ready", true, null]);
    for (const [name, [text, says]] of Object.entries(broken)) {
      const view = await deployed(bench, language, file, text);
      expect([name, view.state, view.active, view.activationError?.code]).toEqual([name, "ready", false, "LOAD_FAILED"]);
      expect(view.activationError?.message, name).toMatch(says);
      const refused = bench.functions.deployments.activate("loading", language, String(view.version));
      await expect(refused, name).rejects.toMatchObject({ code: "LOAD_FAILED", message: expect.stringMatching(says) });
      expect(await call(bench, language)).toBe("good");
    }
  });
});
