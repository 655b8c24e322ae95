import type { Workspaces } from "../workspaces.ts";
import { checkVariableName, checkVariableValue } from "./variable-name.ts";
import type { SecretView, VariableView, WorkspaceVariables } from "./workspace-variables.ts";

/**
 * Environment variables and secrets of workspaces and their functions. A change reaches calls without a new deployment. A secret's value is never given out again. `of`: a
 * workspace, and one of its functions or null for what all of them have.
 */
export class Variables {
  readonly #workspaces: Workspaces;
  readonly #variables: WorkspaceVariables;

  constructor(workspaces: Workspaces, variables: WorkspaceVariables) {
    this.#workspaces = workspaces;
    this.#variables = variables;
  }

  /** By name. @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION */
  async list(workspace: string, functionName: string | null): Promise<VariableView[]> {
    await this.#workspaces.checkFunction(workspace, functionName);
    return this.#variables.variables(workspace, functionName);
  }

  /** Names only. @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION */
  async listSecrets(workspace: string, functionName: string | null): Promise<SecretView[]> {
    await this.#workspaces.checkFunction(workspace, functionName);
    return this.#variables.secrets(workspace, functionName);
  }

  /** See `Workspaces.changeVariable` for what it throws. */
  async set(workspace: string, functionName: string | null, name: string, value: string): Promise<VariableView> {
    checkVariableName(name);
    checkVariableValue(name, value);
    const change = { function: functionName, name, kind: "variable", value } as const;
    return { ...(await this.#workspaces.changeVariable(workspace, change)), value };
  }

  setSecret(workspace: string, functionName: string | null, name: string, value: string): Promise<SecretView> {
    checkVariableName(name);
    checkVariableValue(name, value);
    return this.#workspaces.changeVariable(workspace, { function: functionName, name, kind: "secret", value });
  }

  async remove(workspace: string, functionName: string | null, name: string, kind: "variable" | "secret"): Promise<void> {
    await this.#workspaces.changeVariable(workspace, { function: functionName, name, kind, value: null });
  }
}
