# Sourced by fetch.sh and build.sh: a package $work/program of the function in $source and the server in $server.
export HOME="$work/home" PUB_CACHE="$dependencies/pub-cache" DART_SUPPRESS_ANALYTICS=true CI=true
mkdir -p "$HOME" "$work/program/bin" "$PUB_CACHE"
if [ ! -f "$source/pubspec.yaml" ]; then printf 'name: handler\nenvironment:\n  sdk: ^3.3.0\n' > "$source/pubspec.yaml"; fi
name=$(sed -n 's/^name:[ ]*\([A-Za-z0-9_]*\).*/\1/p' "$source/pubspec.yaml" | head -n 1)
cat > "$work/program/pubspec.yaml" <<END
name: treadle_server_program
publish_to: none
environment:
  sdk: ^3.3.0
dependencies:
  $name: {path: $source}
dependency_overrides:
  treadle: {path: $server}
END
# The server is there whether the function names it or not.
sed -i "s|^dependency_overrides:|  treadle: any\ndependency_overrides:|" "$work/program/pubspec.yaml"
