import { spawnSync } from "node:child_process";
import { copyFileSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";

const RANK = ["errors", "sandbox", "store", "runtimes", "files", "functions", "server"];
const MAY_IMPORT: Record<string, string[]> = {
  errors: [],
  sandbox: ["errors"],
  store: ["errors"],
  runtimes: ["errors"],
  files: ["errors", "sandbox", "store"],
  functions: ["errors", "sandbox", "store", "runtimes", "files"],
  server: ["errors", "sandbox", "store", "runtimes", "files", "functions"],
};

const folder = mkdtempSync(join(tmpdir(), "treadle-imports-"));
afterAll(() => rmSync(folder, { recursive: true }));
copyFileSync("biome.json", join(folder, "biome.json"));

/** What our linter's configuration says of one file at `path`: the restricted import names, in order. */
function restricted(path: string, imports: string[]): string[] {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, imports.map((name) => `await import(${JSON.stringify(name)});\n`).join(""));
  const biome = spawnSync(
    process.execPath,
    [join(process.cwd(), "node_modules/@biomejs/biome/bin/biome"), "lint", "--vcs-enabled=false", "--max-diagnostics=none", path],
    {
      cwd: folder,
      encoding: "utf8",
    },
  );
  return [...biome.stderr.matchAll(/> \d+ │ await import\("(.+)"\);/g)].map((match) => match[1] ?? "");
}

test.each(Object.entries(MAY_IMPORT))("%s imports only the packages below it", (name, allowed) => {
  const others = RANK.filter((other) => other !== name);
  for (const inside of ["src", "src/deep/er", "test"]) {
    const found = restricted(
      `packages/${name}/${inside}/x.ts`,
      others.map((other) => `@treadle/${other}`),
    );
    expect(found).toEqual(others.filter((other) => !allowed.includes(other)).map((other) => `@treadle/${other}`));
  }
});

test.each(RANK)("%s reaches into no other package", (name) => {
  const other = RANK.find((candidate) => MAY_IMPORT[name]?.includes(candidate)) ?? "sandbox";
  const bad = [
    `@treadle/${other}/src/index.ts`,
    `../../${other}/src/index.ts`,
    `../../../${other}/test/x.ts`,
    `../../../packages/${other}/src/index.ts`,
  ];
  expect(restricted(`packages/${name}/src/x.ts`, bad)).toEqual(bad);
  expect(restricted(`packages/${name}/src/x.ts`, ["./y.ts", "../src/y.ts", `../${other}/y.ts`, "vitest", "node:fs"])).toEqual([]);
});

test("the runtime servers are held to the same rules", () => {
  const bad = ["@treadle/sandbox", "@treadle/errors/src/index.ts", "../../../sandbox/src/index.ts"];
  for (const path of ["packages/runtimes/node/server/main.mjs", "packages/runtimes/node/server/main.js"]) {
    expect(restricted(path, bad)).toEqual(bad);
  }
});

/** What servers of several languages share; mounted beside each of them. */
const SHARED = "packages/runtimes/web/";

// Biome does not look at require(), and only these folders are mounted into a sandbox: what a runtime server loads must be in them.
test("the runtime servers load nothing but their own files, what they share, and Node", () => {
  const servers = globSync("packages/runtimes/*/server/**/*.{js,cjs,mjs}");
  expect(servers.length).toBeGreaterThan(5);
  const stray = servers.flatMap((file) => {
    const server = `${file.split("/").slice(0, 4).join("/")}/`;
    const loads = readFileSync(file, "utf8").matchAll(/(?:\brequire\(|\bimport\(|\bfrom |\bimport )\s*["'`]([^"'`]+)["'`]/g);
    return [...loads]
      .map((match) => match[1] ?? "")
      .filter((name) => !name.startsWith("node:"))
      .filter(
        (name) => !(name.startsWith(".") && [server, SHARED].some((folder) => join(dirname(file), name).startsWith(folder))),
      )
      .map((name) => `${file}: ${name}`);
  });
  expect(stray).toEqual([]);
});
