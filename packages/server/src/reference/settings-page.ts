import { SETTINGS } from "../settings/settings.ts";

/** docs/reference/settings.md, from the settings themselves. */
export function settingsPage(): string {
  const rows = Object.values(SETTINGS).map(({ flag, environment, default: fallback, description }) => {
    const shown = fallback === "" ? "" : code(fallback);
    return `| \`--${flag}\` | \`${environment}\` | ${shown} | ${description.replaceAll("|", "\\|")} |`;
  });
  return `<!-- Written by \`node packages/server/src/reference/write.ts\` from packages/server/src/settings/settings.ts. -->

# Settings

Every setting of \`treadle serve\` is a flag and an environment variable; the flag wins. A value that cannot be used stops the start
with [INVALID_SETTING](errors.md#invalid_setting). The variables without \`TREADLE_\` are those that users of Prisme.ai's functions service know.

| flag | environment | default | meaning |
| --- | --- | --- | --- |
${rows.join("\n")}

Sizes are written \`512kb\`, \`1mb\` or as a number of bytes. A single function's limits (time, memory, concurrency, egress) are part
of its definition: see [Functions](functions.md#settings).

Further variables, read where they are needed:

| environment | meaning |
| --- | --- |
| \`TREADLE_PYTHON\` | The Python that runs functions, if the system's is not to. |
| \`TREADLE_SERVER\` | The server that \`treadle deploy\`, \`run\` and \`logs\` talk to; default \`http://127.0.0.1:4000\`. |
| \`npm_config_*\`, \`UV_*\`, \`PIP_*\`; \`.npmrc\`, \`pip.conf\` | Where the operator's registries are and how to log in there: see [Dependencies](../guides/dependencies.md#registries). |
`;
}

function code(text: string): string {
  return `\`${text.replaceAll("|", "\\|")}\``;
}
