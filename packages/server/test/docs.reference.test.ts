import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { ERROR_CATALOGUE, TreadleError } from "@treadle/errors";
import { expect, test } from "vitest";
import { errorsPage } from "../src/reference/errors-page.ts";
import { settingsPage } from "../src/reference/settings-page.ts";
import { SETTINGS } from "../src/settings/settings.ts";
import { runTreadle } from "./cli-server.ts";
import { blocksOf, pages, ROOT, readPage } from "./docs-pages.ts";

const WRITE = "run: node packages/server/src/reference/write.ts";

test("the pages made from code are up to date", () => {
  expect(readPage("docs/reference/settings.md"), WRITE).toBe(settingsPage());
  expect(readPage("docs/reference/errors.md"), WRITE).toBe(errorsPage());
});

test("every error's docs address leads to a heading of the page it names", () => {
  const headings = new Set(anchorsOf("docs/reference/errors.md"));
  for (const code of Object.keys(ERROR_CATALOGUE) as (keyof typeof ERROR_CATALOGUE)[]) {
    const [page, anchor = ""] = new TreadleError(code, "").toJSON().error.docs.split("#");
    expect(page).toBe("docs/reference/errors.md");
    expect(headings).toContain(anchor);
  }
});

test("treadle serve --help names every setting", async () => {
  const { stdout } = await runTreadle(["serve", "--help"]);
  for (const { flag, environment } of Object.values(SETTINGS)) {
    expect(stdout).toContain(`--${flag} `);
    expect(stdout).toContain(environment);
  }
});

test("docs/reference/cli.md names every command and option", async () => {
  const page = readPage("docs/reference/cli.md");
  const commands = async (...of: string[]) =>
    [...(await runTreadle([...of, "--help"])).stdout.matchAll(/^ {2}([a-z]+) /gm)]
      .map(([, name = ""]) => name)
      .filter((name) => name !== "help");
  const top = await commands();
  const all = [...top, ...(await commands("file")).map((name) => `file ${name}`)];
  expect(all).toEqual(expect.arrayContaining(["serve", "doctor", "deploy", "run", "logs", "file put", "file get", "file ls"]));
  for (const command of all) {
    expect(page).toContain(`\n## treadle ${command}\n`);
    if (command === "serve") continue;
    const { stdout } = await runTreadle([...command.split(" "), "--help"]);
    for (const [option] of stdout.matchAll(/^ {2}(?:-\w, )?--[\w-]+/gm)) {
      const long = /--[\w-]+/.exec(option)?.[0] ?? "";
      if (long !== "--help") expect(page).toContain(`\`${long}`);
    }
  }
});

test.each(pages())("%s: links lead somewhere", (page) => {
  const text = readPage(page).replaceAll(/^```[\s\S]*?^```|`[^`\n]*`/gm, "");
  for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(target)) continue;
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), path);
    expect(existsSync(join(ROOT, file)), `${page} links to ${target}`).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(file), `${page} links to ${target}`).toContain(anchor);
  }
});

test("JSON and YAML of all pages parse", async () => {
  const { parseDocument } = await import("yaml");
  for (const page of pages()) {
    for (const { language, text, line } of blocksOf(page)) {
      if (language === "json") expect(() => JSON.parse(text), `${page}:${line}`).not.toThrow();
      if (language === "yaml") expect(parseDocument(text).errors, `${page}:${line}`).toEqual([]);
    }
  }
});

/** Anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): string[] {
  const text = readPage(page).replaceAll(/^```[\s\S]*?^```/gm, "");
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}
