import { Agent } from "node:http";
import { type Answer, send } from "../harness/http.ts";

/** A ledger of what a server has acknowledged, kept while saves and calls go on side by side. */
export class Load {
  /** Last acknowledged value of each workspace. */
  readonly acknowledged = new Map<string, number>();
  /** Values that were sent and never answered: either may be what is stored. */
  readonly unanswered = new Map<string, number>();
  readonly calls: Answer[] = [];
  /** Connections that broke while an answer was due. */
  broken = 0;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #workers: Promise<void>[] = [];
  #over = false;

  /** Goes on saving new values of `workspaces` workspaces of its own, named after `name`, one after the other. */
  save(port: number, name: string, workspaces: number): void {
    this.#workers.push(
      this.#repeat(async (turn) => {
        const workspace = `${name}-${turn % workspaces}`;
        this.unanswered.set(workspace, turn);
        const functions = { value: { code: `return ${turn}` } };
        const answer = await send(port, "POST", `/v2/functions/${workspace}`, { functions }, { agent: this.#agent });
        if (answer.status === 200) this.acknowledged.set(workspace, turn);
        this.unanswered.delete(workspace);
        return answer;
      }),
    );
  }

  /** Goes on calling a function. */
  call(port: number, workspace: string, name: string, parameters: object = {}): void {
    this.#workers.push(
      this.#repeat(async () => {
        const answer = await send(port, "POST", `/v2/functions/${workspace}/run/${name}`, { parameters }, { agent: this.#agent });
        this.calls.push(answer);
        return answer;
      }),
    );
  }

  /** Ends it and waits until nothing is under way. */
  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#workers);
    this.#agent.destroy();
  }

  async #repeat(turn: (number: number) => Promise<Answer>): Promise<void> {
    for (let number = 1; !this.#over; number++) {
      try {
        const answer = await turn(number);
        if (answer.status >= 500) await new Promise((done) => setTimeout(done, 20));
      } catch {
        this.broken += 1;
        await new Promise((done) => setTimeout(done, 20));
      }
    }
  }
}

/** What a server has that was acknowledged: complaints, one per workspace that is missing or has another value. */
export async function lostOf(load: Load, result: (workspace: string) => Promise<unknown>): Promise<string[]> {
  const lost: string[] = [];
  for (const [workspace, value] of load.acknowledged) {
    const found = await result(workspace).catch((error: Error) => error.message);
    if (found !== value && found !== load.unanswered.get(workspace))
      lost.push(`${workspace}: ${value} was acknowledged, ${String(found)} is there`);
  }
  return lost;
}
