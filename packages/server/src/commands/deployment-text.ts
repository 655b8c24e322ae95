import type { DeploymentAnswer } from "./deploy/deploy-source.ts";
import { terminalText } from "./terminal-text.ts";

/** A version in one line, for people. */
export function deploymentLine(deployment: DeploymentAnswer): string {
  const { version, state, active, aliases, language, createdAt, activationError, build } = deployment;
  const failure = activationError ?? build?.error ?? null;
  const parts = [
    `${active ? "*" : " "} ${String(version).padStart(4)}`,
    state.padEnd(9),
    language.padEnd(8),
    new Date(createdAt).toISOString().slice(0, 19).replace("T", " "),
    ...aliases,
    ...(failure === null ? [] : [`${failure.code}: ${failure.message.split("\n", 1)[0]}`]),
  ];
  return `${terminalText(parts.join("  "))}\n`;
}

/** What a command that changed the active version tells. */
export function activeText(deployment: DeploymentAnswer, json: boolean): string {
  return json ? `${JSON.stringify(deployment)}\n` : `${deployment.function}  version ${deployment.version} is active\n`;
}
