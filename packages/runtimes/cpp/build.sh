#!/bin/sh
# Links the function with the server: /artifact/server, and beside it the files that lie beside the entry file.
set -eu
source=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
artifact=${TREADLE_ARTIFACT:-/artifact}
here=$(cd "$(dirname "$0")" && pwd)
server=${TREADLE_RUNTIME:-$here/server}
entry=${TREADLE_ENTRYPOINT:-main.cpp}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/flags.sh"

fail() {
  echo "$1" >&2
  exit 1
}

[ -f "$source/$entry" ] || fail "The entry file $entry does not exist."
mkdir "$work/server" "$work/own"
if [ -d "$dependencies/objects" ]; then cp "$dependencies/objects/"* "$work/server"; fi
compile_server "$work/server"

# The entry file is part of the program; other sources are compiled by themselves.
cat > "$work/main.cpp" <<END
#include <treadle.hpp>
#include "$source/$entry"

// Handler may stand in a namespace of this name.
namespace runtime {}
using namespace runtime;

int main() { return treadle::serve([](RuntimeContext &context) -> RuntimeResponse { return Handler::main(context); }); }
END
$CXX $flags -I"$source" -c "$work/main.cpp" -o "$work/own/main.o"
(cd "$source" && find . -type f \( -name '*.cpp' -o -name '*.cc' -o -name '*.cxx' \) ! -path "./$entry") | while read -r file; do
  $CXX $flags -I"$source" -c "$source/$file" -o "$work/own/$(echo "$file" | tr '/.' '__').o"
done

# Files first: a file named server must not be taken for the program.
folder=$(dirname "$source/$entry")
(cd "$folder" && find . -type f ! -name '*.cpp' ! -name '*.cc' ! -name '*.cxx' ! -name '*.h' ! -name '*.hpp' ! -path './.git/*') | while read -r file; do
  mkdir -p "$artifact/$(dirname "$file")"
  cp "$folder/$file" "$artifact/$file"
done
[ ! -d "$artifact/server" ] || fail "The folder server holds files that are no code: its name is taken by the program that is built. Rename it."
$CXX -static -pthread -s "$work"/own/*.o "$work"/server/*.o -o "$artifact/server"
