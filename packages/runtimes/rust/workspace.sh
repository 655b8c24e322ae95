# Sourced by fetch.sh and build.sh: lays the function and the program that serves it out as one Cargo workspace in $work.
# Wants: $source (a folder that may be written to), $server, $work, $dependencies, $entry.
# Where rustup's rustc is found by the home folder, it still has to be.
export RUSTUP_HOME="${RUSTUP_HOME:-${HOME:-/}/.rustup}"
export CARGO_TERM_COLOR=never CARGO_NET_RETRY=2 CARGO_INCREMENTAL=0 HOME="$work/home"
# Only for what runs in the end, so that macros and build scripts stay programs of this machine.
target=$(rustc -vV | sed -n 's/^host: //p')
[ -n "$target" ] || exit 1
export CARGO_BUILD_TARGET="$target" CARGO_TARGET_DIR="$work/target"
export CARGO_ENCODED_RUSTFLAGS="-Ctarget-feature=+crt-static"
mkdir -p "$HOME" "$work/program"

if [ ! -f "$source/Cargo.toml" ]; then
  printf '[package]\nname = "handler"\nversion = "0.0.0"\nedition = "2021"\n' > "$source/Cargo.toml"
fi

# The crate treadle is the one that lies here, whatever a registry may have under that name. The entry file is a library's, also main.rs.
awk -v server="$server" -v entry="$entry" '
  function add() { if (!dependency) print "treadle = { path = \"" server "\" }"; dependency = 1 }
  /^\[lib\]/ { library = 1 }
  /^\[dependencies\.treadle\]/ { skip = 1; named = 1; next }
  /^\[/ { skip = 0; inside = ($0 ~ /^\[dependencies\]/); print; if (inside) { seen = 1; add() } next }
  skip || (inside && /^treadle[ \t]*=/) { next }
  { print }
  END {
    if (!seen) { print "\n[dependencies]"; add() }
    if (!library) print "\n[lib]\npath = \"" entry "\""
  }' "$source/Cargo.toml" > "$work/Cargo.toml"
cat "$work/Cargo.toml" > "$source/Cargo.toml"
rm "$work/Cargo.toml"
name=$(awk -F'"' '/^\[/ { inside = ($0 ~ /^\[package\]/) } inside && /^name[ \t]*=/ { print $2; exit }' "$source/Cargo.toml")

cat > "$work/program/Cargo.toml" <<END
[package]
name = "treadle-server-program"
version = "0.0.0"
edition = "2021"

[[bin]]
name = "server"
path = "main.rs"

[dependencies]
handler = { path = "$source", package = "$name" }
treadle = { path = "$server" }

[profile.release]
strip = "symbols"

[workspace]
END
printf 'fn main() {\n    treadle::serve(handler::main)\n}\n' > "$work/program/main.rs"
