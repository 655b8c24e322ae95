import { isTreadleError, TreadleError } from "@treadle/errors";
import type { FileParameter } from "../parameters/file-parameters.ts";
import { type ExecutionFiles, MAX_TRANSFERS } from "./execution-files.ts";

/** Files brought to their places at a time. */
const CONCURRENT = 8;

/** An id among the arguments, and how to put a path in its stead. */
interface Place {
  readonly id: string;
  readonly path: string;
  readonly put: (path: string) => void;
}

/**
 * Puts the files that arguments name by id into their places. Returns the JSON of the arguments with paths instead.
 * @throws INVALID_PARAMETERS naming each file the workspace does not have; FILE_DAMAGED, STORAGE_UNAVAILABLE
 */
export async function placeArguments(
  functionName: string,
  argumentsText: string,
  parameters: readonly FileParameter[],
  files: ExecutionFiles,
): Promise<string> {
  const given = JSON.parse(argumentsText) as Record<string, unknown>;
  const places = placesIn(given, parameters);
  const refuse = (faults: readonly { path: string; message: string }[]): TreadleError => {
    const [first] = faults;
    return new TreadleError(
      "INVALID_PARAMETERS",
      `The arguments of ${functionName} do not fit its parameters: ${first?.path.slice(1)} ${first?.message}.`,
      { details: { function: functionName, errors: faults } },
    );
  };
  if (places.length > MAX_TRANSFERS) {
    throw refuse([
      { path: places[MAX_TRANSFERS]?.path ?? "", message: `is one file too many: a call takes at most ${MAX_TRANSFERS}` },
    ]);
  }
  const faults: { path: string; message: string }[] = [];
  for (let from = 0; from < places.length && faults.length === 0; from += CONCURRENT) {
    await Promise.all(
      places.slice(from, from + CONCURRENT).map(async ({ id, path, put }) => {
        try {
          put((await files.place(id)).path);
        } catch (error) {
          if (!isTreadleError(error) || error.code !== "UNKNOWN_FILE") throw error;
          faults.push({ path, message: "is not the id of a file of this workspace" });
        }
      }),
    );
  }
  if (faults.length > 0) throw refuse(faults);
  return JSON.stringify(given);
}

function placesIn(given: Record<string, unknown>, parameters: readonly FileParameter[]): Place[] {
  const places: Place[] = [];
  for (const { name, isList } of parameters) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    if (!isList && typeof value === "string") {
      const put = (path: string) => {
        // A parameter may be called `__proto__`.
        Object.defineProperty(given, name, { value: path, enumerable: true, writable: true, configurable: true });
      };
      places.push({ id: value, path: `/${name}`, put });
    } else if (isList && Array.isArray(value)) {
      for (const [index, id] of value.entries()) {
        if (typeof id !== "string") continue;
        const put = (path: string) => {
          value[index] = path;
        };
        places.push({ id, path: `/${name}/${index}`, put });
      }
    }
  }
  return places;
}
