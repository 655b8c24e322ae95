import { defineConfig } from "vitest/config";
import { ClosingLineReporter } from "./scripts/closing-line-reporter.ts";

export default defineConfig({
  test: {
    include: ["packages/*/test/**/*.test.ts", "test/**/*.test.ts"],
    reporters: ["default", new ClosingLineReporter()],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // The tests start real sandboxes and databases on a small machine: two files at a time is what it bears.
    maxWorkers: 2,
  },
});
