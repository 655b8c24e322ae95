#!/bin/sh
# Fetches the packages that pubspec.yaml names into the dependency layer.
set -eu
source=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
here=$(cd "$(dirname "$0")" && pwd)
server=${TREADLE_RUNTIME:-$here/server}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
if [ -f "$source/pubspec.yaml" ]; then cp "$source/pubspec.yaml" "$work/source/"; fi
source="$work/source"
. "$here/program.sh"
cd "$work/program"
dart pub get --no-example
cp pubspec.lock "$dependencies/lock"
