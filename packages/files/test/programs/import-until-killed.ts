// Opens the files of a data directory, starts an import from the server given, prints the import once it is acknowledged, and goes on until it is killed.
import { openStore } from "@treadle/store";
import { openFilesOn } from "../imports.files.ts";

const [directory = "", authority = "", workspace = ""] = process.argv.slice(2);
const store = await openStore({ dataDirectory: directory, log: () => {} });
const files = await openFilesOn(store, directory, { trusted: [authority] });
console.log(JSON.stringify(await files.imports.start(workspace, { url: `http://${authority}/${workspace}` })));
setInterval(() => {}, 1_000);
