import { DURATION_BUCKETS_MS, type Functions } from "@treadle/functions";
import type { Store } from "@treadle/store";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Transfers } from "./transfers.ts";

/** The server's metrics. Executions are counted by the functions capability and read out here, so that a call does not pay for them. */
export function createMetrics({
  functions,
  store,
  transfers,
}: {
  readonly functions: Functions;
  readonly store: Store;
  readonly transfers: Transfers;
}): {
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
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  counter(
    "treadle_execution_records_dropped_total",
    "Execution records dropped because the database did not keep up.",
    () => store.executions.stats().dropped,
  );
  counter("treadle_files_uploaded_total", "Files that were uploaded whole.", () => transfers.files);
  counter("treadle_uploaded_bytes_total", "Bytes of files that came in by upload.", () => transfers.uploadedBytes);
  counter("treadle_downloaded_bytes_total", "Bytes of files that went out.", () => transfers.downloadedBytes);
  counter(
    "treadle_collected_blobs_total",
    "Contents removed by collections that were asked for.",
    () => transfers.collectedBlobs,
  );
  counter("treadle_collected_bytes_total", "Bytes removed by collections that were asked for.", () => transfers.collectedBytes);
  counter("treadle_scrubbed_bytes_total", "Bytes read by scrubs that were asked for.", () => transfers.scrubbedBytes);
  counter("treadle_damaged_blobs_total", "Contents that scrubs that were asked for found damaged.", () => transfers.damagedBlobs);
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
