#!/bin/sh
# Links the function with the server: /artifact/server, and beside it the files that lie beside the entry file.
set -eu
source=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
artifact=${TREADLE_ARTIFACT:-/artifact}
server=${TREADLE_RUNTIME:-$(cd "$(dirname "$0")/server" && pwd)}
entry=${TREADLE_ENTRYPOINT:-main.go}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "$1" >&2
  exit 1
}

[ -f "$source/$entry" ] || fail "The entry file $entry does not exist."
export HOME="$work/home" GOTOOLCHAIN=local GOENV=off GOWORK=off CGO_ENABLED=0 GOPROXY=off GOSUMDB=off
# What was fetched was checked then; sums that go.sum lacks are taken from there.
export GOFLAGS="-mod=mod -modcacherw -buildvcs=false" GOCACHE="$work/go-build" GOMODCACHE="$work/modules"
mkdir -p "$HOME" "$GOCACHE" "$GOMODCACHE"
# Go writes to its caches; where they are read-only it writes beside links to them.
if [ -d "$dependencies/go-build" ]; then cp -Rs "$dependencies/go-build/." "$GOCACHE"; fi
if [ -d "$dependencies/modules" ]; then GOMODCACHE="$dependencies/modules"; fi

# The checkout of a developer stays as it is.
if [ "$source" != /source ]; then
  cp -R "$source" "$work/source"
  source="$work/source"
fi
cd "$source"
[ -f go.mod ] || printf 'module handler\n\ngo 1.22\n' > go.mod
go mod edit -require=treadle.dev/treadle@v1.0.0 "-replace=treadle.dev/treadle=$server"

folder=$(dirname "$entry")
package=$(go list -f '{{.Name}}' "./$folder") || exit 1
[ "$package" != main ] || fail "$entry is of package main, which cannot be called. Name the package handler: 'package handler', with 'func Main(ctx treadle.Context) treadle.Response'."
path=$(go list -f '{{.ImportPath}}' "./$folder")

# Files first: a file named server must not be taken for the program.
(cd "$folder" && find . -type f ! -name '*.go' ! -name go.mod ! -name go.sum ! -path './vendor/*' ! -path './.git/*') | while read -r file; do
  mkdir -p "$artifact/$(dirname "$file")"
  cp "$folder/$file" "$artifact/$file"
done
[ ! -d "$artifact/server" ] || fail "The folder server holds files that are no code: its name is taken by the program that is built. Rename it."

mkdir treadle_server_program
cat > treadle_server_program/main.go <<END
package main

import (
	handler "$path"
	"treadle.dev/treadle"
)

func main() { treadle.Serve(handler.Main) }
END
go build -trimpath -ldflags='-s -w' -o "$artifact/server" ./treadle_server_program
rm -r treadle_server_program
