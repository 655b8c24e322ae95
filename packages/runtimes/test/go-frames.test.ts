import { beforeAll, beforeEach, expect, test } from "vitest";
import { LEVEL } from "./channel-client.ts";
import { builtGo, GO_BUILD_MS, goMissing, startGo, startLoadedGo } from "./go-server.ts";

beforeAll(async () => {
  if (goMissing === null) await builtGo();
}, GO_BUILD_MS);
beforeEach((context) => {
  if (goMissing !== null) context.skip(goMissing);
});

test("it says what it is, and loads the contract it has", async () => {
  await using client = await startGo();
  expect(await client.ready).toMatchObject({ runtime: "go", version: expect.stringMatching(/^1\.\d+/) });
  const early = await client.request({ url: "/" }, "body");
  expect(early.error).toMatchObject({ code: "LOAD_FAILED" });
  expect((await client.load({ contract: "script" })).errors[""]).toMatchObject({ code: "LOAD_FAILED" });
});

test("environment is there before and after loading; enforced headers and hidden ones", async () => {
  await using client = await startLoadedGo(
    { environment: { LATE: "late value", OPEN_RUNTIMES_HEADERS: '{"X-Forced":1}' } },
    { EARLY: "early value" },
  );
  const { response } = await client.request({ url: "/environment", headers: { "x-open-runtimes-secret": "s" } });
  expect(JSON.parse(String(response?.body))).toEqual({ early: "early value", late: "late value", forced: "1", secret: "" });
});

test("requests are described, and bodies arrive", async () => {
  await using client = await startLoadedGo();
  const head = { method: "PUT", url: "https://a.b:8443/request?x==1&y", headers: { "Content-Type": "Application/JSON" } };
  const { response } = await client.request(head, '{"a":[1]}');
  expect(JSON.parse(String(response?.body))).toEqual({
    ...{ method: "PUT", url: "https://a.b:8443/request?x==1&y", query: { x: "=1", y: "" }, body: { a: [1] } },
  });
  expect(response).toMatchObject({ statusCode: 200, headers: [["content-type", "application/json; charset=utf-8"]] });
});

test("many calls at once get their own answers", async () => {
  await using client = await startLoadedGo();
  const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => client.request({ url: "/" }, `body ${i}`)));
  expect(answers.map(({ response }) => String(response?.body))).toEqual(Array.from({ length: 500 }, (_, i) => `body ${i}`));
  expect(client.violations).toEqual([]);
});

test("a panic is an error with its stack, and no end of the process", async () => {
  await using client = await startLoadedGo();
  const { error, logs } = await client.request({ url: "/panic" });
  expect(error).toMatchObject({ code: "THREW", name: "panic", message: "on purpose", stack: expect.stringContaining("main.go") });
  expect(logs.map(({ level, text }) => [level, text.split("\n")[0]])).toEqual([
    [LEVEL.info, "before"],
    [LEVEL.error, "panic: on purpose"],
  ]);
  expect((await client.request({ url: "/nothing" })).error).toMatchObject({
    code: "THREW",
    message: expect.stringMatching(/^Return statement missing/),
  });
  expect(String((await client.request({ url: "/" }, "still here")).response?.body)).toBe("still here");
});

test("results and log entries have limits", async () => {
  await using client = await startLoadedGo({ limits: { resultBytes: 100_000, logBytes: 1000, logEntryCharacters: 50 } });
  expect((await client.request({ url: "/result" })).error).toMatchObject({ code: "RESULT_TOO_LARGE" });
  const { logs } = await client.request({ url: "/log-length?n=50" });
  expect(logs.map(({ flags, text }) => [flags, text])).toEqual([[0, "é".repeat(50)]]);
  const { logs: cut } = await client.request({ url: "/log-length?n=51" });
  expect(cut.map(({ flags, text }) => [flags, text])).toEqual([[1, "é".repeat(50)]]);
  const { logs: many } = await client.request({ url: "/logs" });
  expect(many.length).toBeLessThan(25);
  expect(many.at(-1)).toMatchObject({ level: LEVEL.warn, flags: 1, text: "[log truncated]" });
});

test("what is printed is logged, in its place, by the only call there is", async () => {
  await using client = await startLoadedGo();
  const { logs } = await client.request({ url: "/print?name=me" });
  expect(logs.map(({ level, text }) => [level, text])).toEqual([
    [LEVEL.info, "printed by me"],
    [LEVEL.error, "an error"],
  ]);
  expect((await client.request({ url: "/print", logging: false })).logs).toEqual([]);
});

test("CANCEL is told to the function, whose late words belong to nobody", async () => {
  await using client = await startLoadedGo();
  const { id, answer } = client.startRequest({ url: "/wait" });
  await client.ping();
  client.cancel(id);
  expect((await answer).cancelled).toEqual({ running: false });
  expect(String((await client.request({ url: "/given-up" })).response?.body)).toBe("true");
  expect(client.ownerless.map(({ text }) => text)).toEqual(["too late"]);
  expect(client.violations).toEqual([]);
});

test("code that goes on after CANCEL is told of; it keeps nobody from answering", async () => {
  await using client = await startLoadedGo();
  const { id, answer } = client.startRequest({ url: "/spin" });
  await expect.poll(() => client.entries.length).toBe(1);
  await client.ping();
  expect(String((await client.request({ url: "/" }, "meanwhile")).response?.body)).toBe("meanwhile");
  client.cancel(id);
  expect((await answer).cancelled).toEqual({ running: true });
});

test("what was logged is told before the process ends itself", async () => {
  await using client = await startLoadedGo();
  const { answer } = client.startRequest({ url: "/exit" });
  await expect(answer).rejects.toThrow("closed the channel");
  expect((await client.exited).code).toBe(7);
  expect(client.entries.map(({ text }) => text)).toEqual(["last words"]);
});

test.each([
  ["a kind that is none", 0x55, ""],
  ["a call that is cut short", 0x02, "\u0000\u0000\u00ff\u0000\u0000\u0000{"],
  ["JSON that is none", 0x01, "{"],
])("%s ends the process", async (_, kind, payload) => {
  await using client = await startLoadedGo();
  client.send(kind, 77, payload);
  expect((await client.exited).code).toBe(1);
});

test("the end of the channel ends the process", async () => {
  const client = await startLoadedGo();
  await client[Symbol.asyncDispose]();
  expect(await client.exited).toEqual({ code: 0, signal: null });
});
