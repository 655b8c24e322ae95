#!/bin/sh
# Links the function with the server: /artifact/server, and beside it the files that lie beside the function's Cargo.toml, or its entry file.
set -eu
given=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
artifact=${TREADLE_ARTIFACT:-/artifact}
here=$(cd "$(dirname "$0")" && pwd)
server=${TREADLE_RUNTIME:-$here/server}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "$1" >&2
  exit 1
}

source=$given
entry=${TREADLE_ENTRYPOINT:-src/main.rs}
if [ "$entry" = src/main.rs ] && [ ! -f "$source/$entry" ]; then
  for other in src/lib.rs main.rs lib.rs; do
    if [ -f "$source/$other" ]; then entry=$other && break; fi
  done
fi
[ -f "$source/$entry" ] || fail "The entry file $entry does not exist."

# Files first: a file named server must not be taken for the program. What lies beside the entry file comes to the same place.
copy_files() {
  (cd "$1" && find . -type f ! -name '*.rs' ! -name Cargo.toml ! -name Cargo.lock ! -path './target/*' ! -path './.git/*') | while read -r file; do
    mkdir -p "$artifact/$(dirname "$file")"
    cp "$1/$file" "$artifact/$file"
  done
}
copy_files "$source"
if [ "$(dirname "$entry")" = src ]; then copy_files "$source/src"; fi
[ ! -d "$artifact/server" ] || fail "The folder server holds files that are no code: its name is taken by the program that is built. Rename it."

# The checkout of a developer stays as it is.
if [ "$source" != /source ]; then
  cp -R "$source" "$work/source"
  source="$work/source"
fi
. "$here/workspace.sh"
# Where the crates lie is part of what Cargo knows compiled crates by: the folder is the one they were fetched into, read-only by now.
if [ -d "$dependencies/cargo" ]; then export CARGO_HOME="$dependencies/cargo"; else export CARGO_HOME="$work/cargo"; fi
if [ -d "$dependencies/target" ]; then
  cp -Rp "$dependencies/target" "$work/target"
  # A layer is read-only; Cargo writes to its lock files.
  chmod -R u+w "$work/target"
  # Layers keep no times. A crate that looks older than one it is made of, or than its source, is compiled again: all get the same time.
  touch "$work/unpacked"
  find "$work/target" -exec touch -r "$work/unpacked" {} +
fi
cd "$work/program"
if [ -f "$dependencies/lock" ]; then cp "$dependencies/lock" Cargo.lock; fi
cargo build --release --offline
cp "$work/target/$target/release/server" "$artifact/server"
