import { DURATION_BUCKETS_MS, type Functions } from "@treadle/functions";
import type { Store } from "@treadle/store";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";

/** The server's metrics. Executions are counted by the functions capability and read out here, so that a call does not pay for them. */
export function createMetrics({ functions, store }: { readonly functions: Functions; readonly store: Store }): {
  text(): Promise<string>;
} {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  gauge("treadle_executions_in_flight", "Executions that wait or run.", () => functions.inFlight);
  gauge("treadle_instances", "Live instances.", () => functions.instances().length);
  gauge(
    "treadle_prewarmed_processes",
    "Processes started without user code, ready for first calls.",
    () => functions.prewarmedProcesses,
  );
  gauge("treadle_execution_records_buffered", "Execution records not yet written.", () => store.executions.stats().buffered);
  new Counter({
    name: "treadle_execution_records_dropped_total",
    help: "Execution records dropped because the database did not keep up.",
    registers,
    collect() {
      this.reset();
      this.inc(store.executions.stats().dropped);
    },
  });
  return { text: async () => `${await registry.metrics()}${executionHistogram(functions)}` };
}

/** The executions' histogram in Prometheus' text format: prom-client has no way to set one from totals. */
function executionHistogram(functions: Functions): string {
  const name = "treadle_execution_duration_seconds";
  const lines = [`# HELP ${name} Time user code had, by language, state and error code.`, `# TYPE ${name} histogram`];
  for (const { language, state, code, count, durationMs, buckets } of functions.statistics.totals) {
    const labels = `language="${language}",state="${state}",code="${code}"`;
    let below = 0;
    for (const [index, bound] of DURATION_BUCKETS_MS.entries()) {
      below += buckets[index] ?? 0;
      lines.push(`${name}_bucket{${labels},le="${bound / 1000}"} ${below}`);
    }
    lines.push(
      `${name}_bucket{${labels},le="+Inf"} ${count}`,
      `${name}_sum{${labels}} ${durationMs / 1000}`,
      `${name}_count{${labels}} ${count}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
