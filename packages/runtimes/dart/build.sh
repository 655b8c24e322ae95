#!/bin/sh
# Compiles the function with the server: /artifact/server, and beside it the files that lie beside the entry file.
set -eu
given=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
artifact=${TREADLE_ARTIFACT:-/artifact}
here=$(cd "$(dirname "$0")" && pwd)
server=${TREADLE_RUNTIME:-$here/server}
entry=${TREADLE_ENTRYPOINT:-lib/main.dart}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -f "$given/$entry" ]; then
  echo "The entry file $entry does not exist." >&2
  exit 1
fi
folder=$(dirname "$given/$entry")
(cd "$folder" && find . -type f ! -name '*.dart' ! -name pubspec.yaml ! -name pubspec.lock ! -path './.dart_tool/*' ! -path './.git/*') | while read -r file; do
  mkdir -p "$artifact/$(dirname "$file")"
  cp "$folder/$file" "$artifact/$file"
done
cp -R "$given" "$work/source"
source="$work/source"
cached=$dependencies
# pub writes to its cache; where that is read-only it gets links.
dependencies="$work"
. "$here/program.sh"
if [ -d "$cached/pub-cache" ]; then cp -Rs "$cached/pub-cache/." "$PUB_CACHE"; fi
cat > "$work/program/bin/server.dart" <<END
import 'package:treadle/treadle.dart' as treadle;
import 'file://$source/$entry' as handler;

Future<void> main() => treadle.serve(handler.main);
END
cd "$work/program"
if [ -f "$cached/lock" ]; then cp "$cached/lock" pubspec.lock; fi
dart pub get --offline --no-example
dart compile exe bin/server.dart -o "$artifact/server"
