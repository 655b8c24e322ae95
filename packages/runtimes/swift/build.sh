#!/bin/sh
# Compiles the function with the server as one module: /artifact/server, and beside it the files that lie beside the entry file.
set -eu
source=${TREADLE_SOURCE:-/source}
artifact=${TREADLE_ARTIFACT:-/artifact}
here=$(cd "$(dirname "$0")" && pwd)
server=${TREADLE_RUNTIME:-$here/server}
entry=${TREADLE_ENTRYPOINT:-Sources/index.swift}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -f "$source/$entry" ]; then
  echo "The entry file $entry does not exist." >&2
  exit 1
fi
folder=$(dirname "$source/$entry")
export HOME="$work"
mkdir "$work/own"
# By its place below the entry file's folder; a file named main.swift would be a program of its own.
(cd "$folder" && find . -type f -name '*.swift' ! -name Package.swift ! -path './.build/*') | while read -r file; do
  cp "$folder/$file" "$work/own/own_$(echo "${file#./}" | tr '/' '_')"
done
(cd "$folder" && find . -type f ! -name '*.swift' ! -name Package.resolved ! -path './.build/*' ! -path './.git/*') | while read -r file; do
  mkdir -p "$artifact/$(dirname "$file")"
  cp "$folder/$file" "$artifact/$file"
done
swiftc -O -swift-version 5 -module-name Handler -module-cache-path "$work/cache" -static-stdlib -parse-as-library "$server"/*.swift "$work/own"/*.swift -o "$artifact/server"
