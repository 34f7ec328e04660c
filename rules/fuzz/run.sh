#!/usr/bin/env bash
# Each fuzz target for so many runs from its seeds, on the stable toolchain. What is found is printed
# and stays in artifacts/.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs="${EDGEBUS_FUZZ_RUNS:-20000}"
seconds="${EDGEBUS_FUZZ_SECONDS:-15}"

cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
for target in agree events patterns inputs queries; do
  options=(-max_len=400 -len_control=0)
  [ "$target" = agree ] || options+=(-dict=rules/fuzz/json.dict)
  corpus="rules/fuzz/corpus/$target"
  mkdir -p "$corpus"
  # Read without its progress; all of it is shown where something is found.
  if ! output=$(cargo fuzz run --fuzz-dir rules/fuzz --sanitizer none "$target" "$corpus" \
    "rules/fuzz/seeds/$target" -- "${options[@]}" -runs="$runs" -max_total_time="$seconds" 2>&1); then
    printf '%s\n' "$output" | tail -100
    exit 1
  fi
  printf '%s: %s\n' "$target" "$(grep -a '^Done' <<<"$output" | tail -1)"
done
