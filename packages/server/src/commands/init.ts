import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { TreadleError } from "@treadle/errors";
import { type LanguageFolder, languageFolders } from "@treadle/runtimes";
import { Argument, Command } from "commander";
import { isMap, parseDocument } from "yaml";
import { TREADLE_YAML } from "./deploy/treadle-yaml.ts";

const SAMPLE = `# What \`treadle test\` sends, and what has to come back. One file per case.
request:
  method: GET
  path: /?name=Ada
expect:
  status: 200
`;

const IGNORED = "node_modules/\n__pycache__/\ntarget/\n.treadle/\n";

interface InitOptions {
  readonly name?: string;
  readonly json?: true;
}

/** `treadle init`: a folder with a function that works, to start from. */
export function initCommand(): Command {
  const languages = languageFolders();
  return new Command("init")
    .description("Start a new function: a folder with a small one that works, its treadle.yaml, types for the editor and a test.")
    .addArgument(new Argument("<language>").choices(languages.map(({ language }) => language)))
    .argument("[folder]", "where; default: a new folder named after the function")
    .option("--name <name>", "name of the function; default: the folder's, else hello-LANGUAGE")
    .option("--json", "print what was made as JSON")
    .action((language: string, folder: string | undefined, options: InitOptions) => {
      const name = options.name ?? (folder === undefined ? `hello-${language}` : basename(resolve(folder)));
      const directory = resolve(folder ?? name);
      const files = makeFolder(languages.find((each) => each.language === language) as LanguageFolder, directory, name);
      const shown = relative(process.cwd(), directory) || ".";
      process.stdout.write(
        options.json
          ? `${JSON.stringify({ function: name, language, folder: directory, files })}\n`
          : `${files.map((file) => `  ${join(shown, file)}\n`).join("")}Next: treadle dev ${shown}, or treadle deploy ${shown} --workspace WORKSPACE\n`,
      );
    });
}

/** Fills a new or empty folder; returns the paths of its files. @throws CONFLICT when there is something in it */
function makeFolder({ language, example, types }: LanguageFolder, directory: string, name: string): string[] {
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new TreadleError("CONFLICT", `${directory} is not empty; nothing was written.`);
  }
  if (!existsSync(join(example, TREADLE_YAML))) {
    throw new TreadleError("UNKNOWN_RUNTIME", `The language folder of ${language} has no example to start from.`);
  }
  mkdirSync(directory, { recursive: true });
  cpSync(example, directory, { recursive: true });
  if (types !== null) cpSync(types, join(directory, ".treadle", "types"), { recursive: true });
  renameFunction(join(directory, TREADLE_YAML), name);
  const tests = join(directory, "tests");
  mkdirSync(tests, { recursive: true });
  if (readdirSync(tests).length === 0) writeFileSync(join(tests, "hello.yaml"), SAMPLE);
  if (!existsSync(join(directory, ".gitignore"))) writeFileSync(join(directory, ".gitignore"), IGNORED);
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .sort();
}

/** Keeps the comments of the example's treadle.yaml. */
function renameFunction(path: string, name: string): void {
  const document = parseDocument(readFileSync(path, "utf8"));
  if (isMap(document.contents)) document.set("function", name);
  writeFileSync(path, document.toString());
}
