import type { Reporter, TestModule } from "vitest/node";

/**
 * Ends a test run with the skipped tests and their reasons, and, alone on the last line, `N passed, N failed, N skipped`.
 * A file that could not be loaded, and an error outside any test, count as one failure each.
 */
export class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandledErrors.length;
    const skipped: string[] = [];
    for (const module of modules) {
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "passed") passed += 1;
        else if (result.state === "skipped") {
          skipped.push(`${module.relativeModuleId}: ${test.fullName}: ${result.note ?? "no reason given"}`);
        } else failed += 1;
      }
    }
    // verify.mjs names here what failed before the tests, so that the end of a long output tells the whole truth.
    const earlier = process.env.TREADLE_FAILED_CHECKS;
    const lines = [
      ...(skipped.length > 0 ? ["Skipped:", ...skipped.map((line) => `  ${line}`), ""] : []),
      ...(earlier ? [`Failed before the tests: ${earlier}`, ""] : []),
      `${passed} passed, ${failed} failed, ${skipped.length} skipped`,
    ];
    process.stdout.write(`${lines.join("\n")}\n`);
  }
}
