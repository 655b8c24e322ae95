#!/bin/sh
# Compiles the server and the user's sources with Mono's C# compiler. Libraries (*.dll) that lie in the source may be used.
set -eu
source=${TREADLE_SOURCE:-/source}
artifact=${TREADLE_ARTIFACT:-/artifact}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp -R "$source/." "$artifact/"
rm -rf "$artifact/.treadle"
mkdir -p "$artifact/.treadle"
libraries="-r:System.Core.dll -r:System.Numerics.dll -r:System.Xml.dll -r:System.Data.dll -r:Microsoft.CSharp.dll"
mono=/usr/bin/mono
mcs() { "$mono" /usr/lib/mono/4.5/mcs.exe -nologo -optimize+ -langversion:latest -codepage:utf8 "$@"; }

mcs -target:exe "-out:$artifact/.treadle/treadle-runtime.exe" -r:System.Core.dll "$here"/server/*.cs
(cd "$source" && find . -name '*.cs' ! -path './.treadle/*' ! -path './bin/*' ! -path './obj/*') | sed "s|^\./\(.*\)|\"$source/\1\"|" >"$work/sources"
if [ ! -s "$work/sources" ]; then
  echo "There is no .cs file in the source." >&2
  exit 1
fi
find "$source" -name '*.dll' ! -path '*/bin/*' ! -path '*/obj/*' | while read -r library; do
  cp "$library" "$artifact/.treadle/"
  echo "-r:\"$artifact/.treadle/${library##*/}\"" >>"$work/sources"
done
# shellcheck disable=SC2086
mcs -target:library "-out:$artifact/.treadle/user.dll" $libraries "-r:$artifact/.treadle/treadle-runtime.exe" "@$work/sources"
