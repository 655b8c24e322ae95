import { ERROR_CATALOGUE } from "@treadle/errors";

/** docs/reference/errors.md, from the catalogue of errors. Anchors are the codes in lower case, as the API's `docs` names them. */
export function errorsPage(): string {
  const entries = Object.entries(ERROR_CATALOGUE).map(
    ([code, { status, when, remedy }]) => `## ${code}\n\nHTTP status ${status}. ${when}\n\n*What to do:* ${remedy}\n`,
  );
  return `<!-- Written by \`node packages/server/src/reference/write.ts\` from packages/errors/src/catalogue.ts. -->

# Errors

Every error of API and command line has a code that never changes its meaning. Over HTTP it is
\`{"error": {"code", "message", "help", "docs", "details"?}}\`: what happened, what to do, the place on this page, and facts for programs. A
call of an inline function that failed has the \`logs\` up to then and its \`duration\` beside it.

${entries.join("\n")}`;
}
