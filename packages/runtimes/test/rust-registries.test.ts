import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { crateRegistries } from "../rust/crate-registries.ts";

test("cargo's configuration goes along without tokens, and without registries whose address has a password", () => {
  const home = mkdtempSync(join(tmpdir(), "treadle-cargo-"));
  try {
    writeFileSync(
      join(home, "config.toml"),
      `[net]
retry = 2

[source.crates-io]
replace-with = "mirror"

[source.mirror]
registry = "sparse+https://crates.example:8443/index/"

[registries.own]
index = "sparse+https://own.example/index/"
token = "secret-token"
  credential-provider = "cargo:token"

[registries.closed]
index = "https://user:password@closed.example/index"
`,
    );
    const { configuration, registries } = crateRegistries({ CARGO_HOME: home });
    expect(registries).toEqual(["crates.example:8443", "own.example:443"]);
    expect(configuration).toContain('index = "sparse+https://own.example/index/"');
    for (const hidden of ["secret-token", "password", "closed", "credential", "retry"])
      expect(configuration).not.toContain(hidden);
  } finally {
    rmSync(home, { recursive: true });
  }
});
