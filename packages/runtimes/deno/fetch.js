// Fills the dependency layer of a Deno function: the configuration it is started with, and beside it the packages that `imports` of
// deno.json and `dependencies` of package.json name. npm's go to node_modules, JSR's and those by address to vendor. No code of theirs is run.

const source = Deno.env.get("TREADLE_SOURCE") || "/source";
const target = Deno.env.get("TREADLE_DEPENDENCIES") || "/dependencies";
/** Where the function's code is when it runs. */
const CODE = "/code/";

function read(name) {
  try {
    return Deno.readTextFileSync(`${source}/${name}`);
  } catch {
    return null;
  }
}

/** JSON with comments and trailing commas, as deno.jsonc may be. */
function parse(text) {
  const plain = text.replace(/("(?:[^"\\]|\\.)*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (_, string) => string ?? "");
  return JSON.parse(plain.replace(/("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])/g, (_, string) => string ?? ""));
}

/** Paths of an import map are relative to its file, which is elsewhere from now on. */
function moved(imports = {}) {
  const entries = Object.entries(imports).map(([name, to]) => {
    if (/^\.{1,2}\//.test(to)) return [name, new URL(to, `file://${CODE}`).href];
    return [name, to.startsWith("/") ? `file://${to}` : to];
  });
  return Object.fromEntries(entries);
}

const config = parse(read("deno.json") ?? read("deno.jsonc") ?? "{}");
const { dependencies = {} } = parse(read("package.json") ?? "{}");
for (const [name, range] of Object.entries(dependencies)) {
  if (/^(file|link|git|https?|workspace):|^git\+/.test(range)) {
    console.error(`package.json: ${name} comes from ${range}; only packages of a registry can be installed.`);
    Deno.exit(1);
  }
}
const packages = Object.entries(dependencies).map(([name, range]) => [
  name,
  range.startsWith("npm:") ? range : `npm:${name}@${range}`,
]);
const scopes = Object.fromEntries(Object.entries(config.scopes ?? {}).map(([scope, imports]) => [scope, moved(imports)]));
const made = {
  imports: { ...Object.fromEntries(packages), ...moved(config.imports) },
  scopes,
  ...(config.compilerOptions && { compilerOptions: config.compilerOptions }),
  ...(config.unstable && { unstable: config.unstable }),
  vendor: true,
  nodeModulesDir: "auto",
};
const writeConfig = () => Deno.writeTextFileSync(`${target}/deno.json`, `${JSON.stringify(made, null, 2)}\n`);
writeConfig();
const lock = read("deno.lock");
if (lock !== null) Deno.writeTextFileSync(`${target}/deno.lock`, lock);

// What may be cached is what an import statement for each would load; local files have none.
const wanted = Object.entries(made.imports).filter(([name, to]) => !to.startsWith("file:") && !name.endsWith("/"));
const { code } = await new Deno.Command(Deno.execPath(), {
  args: ["install", "--quiet", ...(lock === null ? [] : ["--frozen"])],
  cwd: target,
  stdout: "inherit",
  stderr: "inherit",
}).output();
if (code !== 0) Deno.exit(code);
const addresses = wanted.map(([, to]) => to).filter((to) => to.startsWith("https:"));
if (addresses.length > 0) {
  const args = ["cache", "--quiet", "--config", `${target}/deno.json`, ...addresses];
  const cached = await new Deno.Command(Deno.execPath(), { args, cwd: target, stdout: "inherit", stderr: "inherit" }).output();
  if (cached.code !== 0) Deno.exit(cached.code);
}
// From now on the packages are taken as they are: checking them for completeness at each start takes longer than the start.
made.nodeModulesDir = "manual";
writeConfig();
try {
  Deno.copyFileSync(`${target}/deno.lock`, `${target}/lock`);
} catch {
  // Nothing was fetched, so nothing is locked.
}
