import { isDeepStrictEqual } from "node:util";

const WORKSPACE = { functions: { hello: { code: 'return "Hello " + name;', parameters: { name: { type: "string" } } } } };

/** Saves the example workspace and calls its function; prints both and throws when an answer is not as it should be. */
export async function demonstrate(address) {
  const saved = await show(`${address}/v2/functions/test`, WORKSPACE);
  if (!isDeepStrictEqual(saved, WORKSPACE)) throw new Error("the saved workspace came back different from what was sent");
  const answer = await show(`${address}/v2/functions/test/run/hello`, { parameters: { name: "world" } });
  if (answer?.result !== "Hello world" || !Array.isArray(answer.logs) || typeof answer.duration !== "number") {
    throw new Error('the call did not answer "Hello world"');
  }
}

async function show(url, body) {
  const data = JSON.stringify(body);
  console.log(`\n$ curl ${url} -H 'Content-Type: application/json' \\\n    --data '${data}'`);
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: data,
    signal: AbortSignal.timeout(60_000),
  });
  const text = await response.text();
  console.log(`${text}\n`);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return JSON.parse(text);
}
