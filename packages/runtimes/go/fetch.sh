#!/bin/sh
# Fetches the modules that go.mod names, and compiles what every function needs of the standard library, into the dependency layer.
set -eu
source=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
server=${TREADLE_RUNTIME:-$(cd "$(dirname "$0")/server" && pwd)}
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

export HOME="$work/home" GOTOOLCHAIN=local GOENV=off GOWORK=off CGO_ENABLED=0
export GOFLAGS="-mod=mod -modcacherw -buildvcs=false" GOMODCACHE="$dependencies/modules" GOCACHE="$dependencies/go-build"
mkdir -p "$HOME" "$GOMODCACHE"

if [ -f "$source/go.mod" ]; then
  # Modules that go.mod replaces by folders of the source are known by their own go.mod.
  (cd "$source" && find . \( -name go.mod -o -name go.sum \) -type f ! -path '*/vendor/*') | while read -r file; do
    mkdir -p "$work/module/$(dirname "$file")"
    cp "$source/$file" "$work/module/$file"
  done
  cd "$work/module"
  go mod edit -require=treadle.dev/treadle@v1.0.0 "-replace=treadle.dev/treadle=$server"
  go mod download
  cat "$source/go.mod" > "$dependencies/lock"
  if [ -f "$source/go.sum" ]; then cat "$source/go.sum" >> "$dependencies/lock"; fi
fi

# The packages of the server, so that a function's own build takes a second or two.
cp -R "$server" "$work/server"
cd "$work/server"
go build -trimpath ./...
