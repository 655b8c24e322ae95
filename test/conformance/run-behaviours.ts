import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Runtime } from "@treadle/runtimes";
import { afterAll, describe, expect, test } from "vitest";
import type { Behaviour, Setting, Subject } from "./behaviour.ts";
import { CONTROL } from "./behaviours/control.ts";
import { LOGS } from "./behaviours/logs.ts";
import { REQUESTS } from "./behaviours/requests.ts";
import { RESPONSES } from "./behaviours/responses.ts";
import { SCRIPT } from "./behaviours/script.ts";
import { STREAMS } from "./behaviours/streams.ts";
import { type BuiltFunction, builtFunction } from "./built-function.ts";
import { type Language, languagesOfThisRun } from "./languages.ts";
import { type RuntimeServer, SECRET } from "./runtime-server.ts";

const BEHAVIOURS: readonly Behaviour[] = [...RESPONSES, ...REQUESTS, ...CONTROL, ...LOGS, ...STREAMS, ...SCRIPT];
/** Longest a build with an empty cache may take: compiling a web framework on a small machine does take minutes. */
const BUILD_MILLISECONDS = 15 * 60_000;

const ENVIRONMENT: Readonly<Record<string, string>> = {
  OPEN_RUNTIMES_SECRET: SECRET,
  OPEN_RUNTIMES_HEADERS: '{"X-Enforced":"by the operator","x-enforced-too":"42"}',
  CUSTOM_ENV_VAR: "customValue",
  // A folder that is not there: logs go to stdout.
  TREADLE_LOGS: "/nonexistent/logs",
};

/** Starts a server of a language: see in-process.ts and in-sandbox.ts. */
export type Start = (
  language: Language,
  runtime: Runtime,
  built: BuiltFunction,
  environment: Readonly<Record<string, string>>,
  socket?: string,
) => Promise<RuntimeServer>;

/** Makes a test of every behaviour for every language of this run. */
export async function runBehaviours(place: Subject["place"], start: Start): Promise<void> {
  for (const language of await languagesOfThisRun(place)) {
    describe(`${language.name} (${place})`, () => {
      const { runtime } = language;
      if (!("command" in runtime)) {
        test("every behaviour", (context) => context.skip(`${runtime.reason} ${runtime.remedy}`));
        return;
      }
      testLanguage(language, runtime, place, start);
    });
  }
}

function testLanguage(language: Language, runtime: Runtime, place: Subject["place"], start: Start): void {
  const shared = new Map<string, Promise<RuntimeServer>>();
  afterAll(async () => {
    for (const each of shared.values()) await each.then((server) => server[Symbol.asyncDispose]()).catch(() => {});
  });
  const isThere = (name: string) => existsSync(join(language.folder, "conformance", name));
  const own = async ({ function: name = "handler", environment = {} }: Setting = {}, socket?: string) => {
    const built = await builtFunction(language, runtime, name);
    const merged = Object.entries({ ...ENVIRONMENT, ...environment }).filter(
      (entry): entry is [string, string] => entry[1] !== null,
    );
    return start(language, runtime, built, Object.fromEntries(merged), socket);
  };
  const subject: Subject = {
    place,
    can: (feature) => !(feature in language.unsupported),
    own,
    server: (setting = {}) => {
      const key = JSON.stringify(setting);
      const found = shared.get(key) ?? own(setting);
      shared.set(key, found);
      return found;
    },
  };
  test("the conformance functions are built", { timeout: BUILD_MILLISECONDS }, async () => {
    expect(isThere("handler"), `${language.folder}/conformance/handler is missing`).toBe(true);
    expect(runtime.contracts.includes("script") && !isThere("script"), `${language.folder}/conformance/script is missing`).toBe(
      false,
    );
    for (const name of ["handler", "old-form", "script"]) if (isThere(name)) await builtFunction(language, runtime, name);
  });
  for (const behaviour of BEHAVIOURS) {
    if (behaviour.place !== undefined && behaviour.place !== place) continue;
    if (behaviour.only !== undefined && !isThere(behaviour.only)) continue;
    const missing = (behaviour.needs ?? []).find((need) => !subject.can(need));
    test(behaviour.name, { timeout: 60_000 }, async (context) => {
      if (missing !== undefined) context.skip(language.unsupported[missing] ?? missing);
      await behaviour.check(subject);
    });
  }
}
