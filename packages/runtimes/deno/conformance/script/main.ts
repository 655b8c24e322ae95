import type { ScriptData } from "../../types/treadle.d.ts";

/** The conformance script: does what data.variables.action says (test/conformance/ACTIONS.md). */
export function handle(data: ScriptData) {
  switch (data.variables.action) {
    case "change": {
      const count = Number(data.flow.variables.count ?? 0) + 1;
      return {
        ...data,
        payload: `${data.payload}!`,
        meta: { ...data.meta, seen: true },
        flow: { variables: { ...data.flow.variables, count } },
        logs: ["changed"],
      };
    }
    case "code":
      return { ...data, response_code: 2 };
    case "throw":
      throw new Error("Script failed");
    case "log":
      console.log("printed");
      return data;
    case "nothing":
      return;
    default:
      return data;
  }
}
