import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const EXAMPLE = join(ROOT, "examples/runtimes/perl");

/** Blocks of the guide that quote a file: ```language title="path". */
function quotes(): { readonly path: string; readonly text: string }[] {
  const guide = readFileSync(join(ROOT, "docs/guides/add-a-language.md"), "utf8");
  return [...guide.matchAll(/^```\w+ title="([^"]+)"\n([\s\S]*?)^```$/gm)].map(([, path, text]) => ({
    path: path as string,
    text: text as string,
  }));
}

test("the guide quotes the worked example as it is", () => {
  expect(quotes().length).toBeGreaterThan(3);
  for (const { path, text } of quotes()) expect(readFileSync(join(ROOT, path), "utf8"), path).toContain(text);
});

/** A checkout with the example in place: the repository's packages and tests, and links to what npm has installed. */
function checkoutWithExample(folder: string): void {
  const leftOut = (source: string) => !/\/(node_modules|data|target)$/.test(source);
  for (const name of ["packages", "test", "scripts", "package.json", "tsconfig.json", "vitest.config.ts"])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true, filter: leftOut, verbatimSymlinks: true });
  cpSync(EXAMPLE, join(folder, "packages/runtimes/perl"), { recursive: true });
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "@treadle"), { recursive: true });
  for (const name of readdirSync(join(ROOT, "node_modules"))) {
    if (name !== "@treadle" && name !== ".cache" && name !== ".vite")
      symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
  }
  for (const name of readdirSync(join(folder, "packages"))) {
    symlinkSync(join(folder, "packages", name), join(modules, "@treadle", name));
    const own = join(ROOT, "packages", name, "node_modules");
    if (existsSync(own)) symlinkSync(own, join(folder, "packages", name, "node_modules"));
  }
}

test("the worked example passes the conformance suite as a language", { timeout: 180_000 }, async (ctx) => {
  if (!existsSync("/usr/bin/perl") || !existsSync("/usr/share/perl")) ctx.skip("Perl with its standard library was not found.");
  const folder = mkdtempSync(join(tmpdir(), "treadle-language-"));
  try {
    checkoutWithExample(folder);
    const suite = spawn(process.execPath, [join(folder, "node_modules/vitest/vitest.mjs"), "run", "test/conformance"], {
      cwd: folder,
      env: { ...process.env, TREADLE_LANGUAGES: "perl", VITEST: undefined, NODE_ENV: undefined, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [suite.stdout, suite.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    const [code] = await once(suite, "close");
    expect(code, output.slice(-8000)).toBe(0);
    expect(output).toMatch(/perl \(process\)[\s\S]*\d+ passed, 0 failed/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
