#!/bin/sh
# Fetches the crates that Cargo.toml names, and compiles those of the server, into the dependency layer.
set -eu
given=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
here=$(cd "$(dirname "$0")" && pwd)
server=${TREADLE_RUNTIME:-$here/server}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Manifests alone: each needs something to be made of, but nothing of it is compiled here.
source="$work/source"
mkdir "$source"
(cd "$given" && find . \( -name Cargo.toml -o -name Cargo.lock \) -type f) | while read -r file; do
  mkdir -p "$source/$(dirname "$file")/src"
  cp "$given/$file" "$source/$file"
  [ -e "$source/$(dirname "$file")/src/lib.rs" ] || : > "$source/$(dirname "$file")/src/lib.rs"
done
mkdir -p "$source/src"
: > "$source/src/lib.rs"
entry=src/lib.rs
export CARGO_HOME="$dependencies/cargo"
mkdir -p "$CARGO_HOME"
if [ -n "${TREADLE_CARGO_CONFIG:-}" ]; then printf '%s\n' "$TREADLE_CARGO_CONFIG" > "$CARGO_HOME/config.toml"; fi
. "$here/workspace.sh"

cd "$work/program"
if [ -f "$source/Cargo.lock" ]; then cp "$source/Cargo.lock" Cargo.lock; else cp "$server/Cargo.lock" Cargo.lock; fi
cargo fetch --target "$target"
if awk '/^name = "treadle"$/ { found = 1; next } found && /^source/ { exit 1 } /^$/ { found = 0 }' Cargo.lock; then :; else
  echo "Cargo.toml asks for a crate treadle of a registry; write treadle = \"1\"." >&2
  exit 1
fi
cp Cargo.lock "$dependencies/lock"
cargo build --release --offline --locked --quiet --package treadle
mkdir "$dependencies/target"
cp -Rp "$work/target/." "$dependencies/target"
rm -rf "$CARGO_HOME/registry/src/"*/*/tests "$CARGO_HOME/registry/src/"*/*/benches
