# Sourced by fetch.sh and build.sh: compilers and flags, the same for both.
export CXX="${TREADLE_CXX:-g++}"
flags="-std=c++20 -O2 -pthread -I$server"

# The server's objects, in folder $1: newest sources win, so that a layer of an older Treadle is not linked.
compile_server() {
  digest=$(cat "$server"/*.cpp "$server"/*.hpp | sha256sum)
  if [ -f "$1/digest" ] && [ "$(cat "$1/digest")" = "$digest" ]; then return; fi
  for file in "$server"/*.cpp; do
    $CXX $flags -c "$file" -o "$1/$(basename "$file" .cpp).o"
  done
  printf '%s\n' "$digest" > "$1/digest"
}
