import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { serve } from "../src/serve.ts";
import { readSettings } from "../src/settings/settings.ts";

test("UPDATE_SCRIPTS_ON_STARTUP takes workspace.yaml files over, once, and a broken one harms no other", async () => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-update-"));
  const settings = readSettings({
    PORT: "0",
    FUNCTIONS_STORAGE_FILESYSTEM_DIRPATH: folder,
    UPDATE_SCRIPTS_ON_STARTUP: "yes",
    TREADLE_LOG_LEVEL: "silent",
  });
  const file = async (workspace: string, text: string) => {
    await mkdir(join(folder, workspace), { recursive: true });
    await writeFile(join(folder, workspace, "workspace.yaml"), text);
  };
  try {
    await file(
      "good",
      'functions:\n  hello:\n    code: return "Hello " + name;\n    parameters:\n      name:\n        type: string\n',
    );
    await file("broken", "functions:\n  hello:\n    code: return (\n");
    const revisions: number[] = [];
    for (let start = 0; start < 2; start++) {
      await using server = await serve(settings);
      const answer = await fetch(`${server.url}/v2/functions/good/run/hello`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ parameters: { name: "you" } }),
      });
      expect(await answer.json()).toMatchObject({ result: "Hello you" });
      expect((await fetch(`${server.url}/v2/functions/broken`)).status).toBe(404);
      revisions.push(((await (await fetch(`${server.url}/api/v1/workspaces/good`)).json()) as { revision: number }).revision);
    }
    expect(revisions[1]).toBe(revisions[0]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
