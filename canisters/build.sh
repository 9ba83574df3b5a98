#!/usr/bin/env bash
# Builds the WebAssembly modules reproducibly: the same sources and rustc give the same bytes in any
# folder, with any CARGO_HOME and from any mirror of crates.io.
#
#   canisters/build.sh [NAME...]           build all modules or these, and write them
#   canisters/build.sh --check [NAME...]   build in a temporary folder, and compare
#
# canisters/wasm holds storage.wasm.gz and inference.wasm.gz (what is installed), candid_text.wasm.gz
# (a parser that the embedded network's client runs), host_decode.wasm.gz (the decoder of frames for
# the Python package), SHA256SUMS (of them and of the modules in them)
# and RUSTC (the compiler they belong to). tests/inference/wasm holds
# llama_lab.wasm.gz, which only tests run. The toolchain is Debian 12's rustc-web, because its
# archive carries both a wasm linker and the sources of std; rustup's wasm32 target gives other
# bytes. DATANODE_CARGO and DATANODE_RUSTC name other programs than /usr/bin/cargo and rustc.
set -euo pipefail
shopt -s inherit_errexit # else a failed build leaves an old module to be taken for the new one

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
cargo="${DATANODE_CARGO:-/usr/bin/cargo}"
rustc="${DATANODE_RUSTC:-/usr/bin/rustc}"
linker=wasm-ld-22
target=wasm32-unknown-unknown
root="$(dirname "$here")"
# Each module: its name, the folder that it is written to, its cargo profile, flags of its last crate,
# with which the code is generated. The profile `reader` is built for size: with a std for size, and
# panics that say nothing. Loop strength reduction turns constant offsets into additions, which costs a
# kernel 0.97 instructions a multiply-accumulate instead of 0.72.
modules=(
  "storage canisters/wasm release"
  "inference canisters/wasm reader -C llvm-args=-disable-lsr -C strip=symbols"
  "host_decode canisters/wasm release"
  "llama_lab tests/inference/wasm release -C llvm-args=-disable-lsr"
  "candid_text canisters/wasm reader -C strip=symbols"
)
packages="rustc-web cargo-web rust-web-src lld-22 ca-certificates"

fail() {
  echo "canisters/build.sh: $*" >&2
  exit 1
}

check_toolchain() {
  local sources
  [ -x "$cargo" ] && [ -x "$rustc" ] && command -v "$linker" >/dev/null || fail \
    "the toolchain is missing; on Debian 12: apt-get install -y --no-install-recommends $packages"
  sources="$("$rustc" --print sysroot)/lib/rustlib/src/rust/library/std"
  [ -d "$sources" ] || fail \
    "the sources of std are missing; on Debian 12: apt-get install -y rust-web-src"
}

# Builds the module $2 into the folder $1 with the profile $3 and flags of its last crate, and prints
# its path. Modules of a profile share std and all other crates.
build() {
  local name="$2" profile="$3"
  local cargo_home="${CARGO_HOME:-$HOME/.cargo}" sysroot flags folder
  cd "$here"
  # A crate with a lock of its own is a workspace of its own.
  if [ -f "$name/Cargo.lock" ]; then cd "$name"; fi
  export RUSTC="$rustc" CARGO_TARGET_DIR="$1" CARGO_INCREMENTAL=0
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
  export RUSTC_BOOTSTRAP=1 # for std and the flags of `reader`: the crates use stable Rust
  unset RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_RUSTFLAGS
  "$cargo" fetch --quiet --locked --target "$target" >&2
  sysroot="$("$rustc" --print sysroot)"
  local -a for_size=()
  flags=(-C target-feature=+simd128)
  if [ "$profile" = reader ]; then
    flags+=(-Zlocation-detail=none -Zunstable-options -Cpanic=immediate-abort)
    for_size=(-Zbuild-std-features=optimize_for_size)
  fi
  flags+=("--remap-path-prefix=$here=/datanode")
  # The sources of std lie behind a link that some paths are resolved through.
  for folder in "$sysroot/lib/rustlib/src/rust" "$(realpath "$sysroot/lib/rustlib/src/rust")"; do
    flags+=("--remap-path-prefix=$folder=/rust")
  done
  # A mirror of crates.io is unpacked under another name than crates.io itself.
  for folder in "$(realpath "$cargo_home")"/registry/src/*/; do
    flags+=("--remap-path-prefix=${folder%/}=/crates")
  done
  CARGO_ENCODED_RUSTFLAGS="$(IFS=$'\x1f'; echo "${flags[*]}")"
  export CARGO_ENCODED_RUSTFLAGS
  "$cargo" rustc --locked --profile "$profile" --target "$target" --lib --crate-type cdylib \
    --package "datanode-${name//_/-}" -Zbuild-std=std,panic_abort "${for_size[@]}" -- "${@:4}" >&2
  echo "$1/$target/$profile/datanode_$name.wasm"
}

# Refuses a module that tells where it was built.
check_paths() {
  local folder
  for folder in "$here" "$HOME/" "${CARGO_HOME:-$HOME/.cargo}" "$("$rustc" --print sysroot)/lib/"; do
    ! grep -qaF "$folder" "$1" || fail "the module contains the path $folder"
  done
}

digest() {
  sha256sum | cut -d ' ' -f 1
}

# Writes the module $1 as $2 into the folder $3.
write() {
  local module="$1" name="$2" out="$3" others=""
  mkdir -p "$out"
  gzip -n -9 <"$module" >"$out/$name.wasm.gz"
  if [ -f "$out/SHA256SUMS" ]; then others="$(grep -v "  $name\.wasm" "$out/SHA256SUMS" || true)"; fi
  {
    echo "$(digest <"$out/$name.wasm.gz")  $name.wasm.gz"
    echo "$(digest <"$module")  $name.wasm"
    [ -z "$others" ] || echo "$others"
  } | LC_ALL=C sort -k 2 >"$out/SHA256SUMS.new"
  mv "$out/SHA256SUMS.new" "$out/SHA256SUMS"
  grep "  $name\.wasm" "$out/SHA256SUMS"
}

# Compares the module $1 with $2 in the folder $3: modules, not their gzip forms, which depend on the
# gzip at hand.
compare() {
  local module="$1" name="$2" out="$3" stated
  (cd "$out" && sha256sum --quiet --check --ignore-missing SHA256SUMS) ||
    fail "$name.wasm.gz or a module beside it is not what SHA256SUMS says"
  stated="$(gunzip -c "$out/$name.wasm.gz" | digest)"
  grep -qxF "$stated  $name.wasm" "$out/SHA256SUMS" ||
    fail "SHA256SUMS names another module than $name.wasm.gz holds"
  if [ "$(digest <"$module")" != "$stated" ]; then
    diff <("$rustc" -vV) "$here/wasm/RUSTC" >&2 ||
      fail "this is another rustc; run canisters/build.sh and commit the modules"
    fail "the sources give another $name; run canisters/build.sh and commit the modules"
  fi
  echo "$name.wasm.gz is what the sources give: $stated"
}

# Builds the modules that are named after $2 (all, if none is) into the folder $2, and calls $1 for
# each.
each() {
  local action="$1" build_folder="$2" entry name folder profile module
  local -a flags
  shift 2
  for entry in "${modules[@]}"; do
    read -r name folder profile entry <<<"$entry"
    [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
    read -r -a flags <<<"$entry"
    module="$(build "$build_folder" "$name" "$profile" "${flags[@]}")"
    check_paths "$module"
    "$action" "$module" "$name" "$root/$folder"
  done
}

check_toolchain
case "${1:-}" in
  --check)
    shift
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    each compare "$scratch" "$@"
    ;;
  -*) fail "usage: canisters/build.sh [--check] [NAME...]" ;;
  *)
    each write "${CARGO_TARGET_DIR:-$here/target/canister}" "$@"
    "$rustc" -vV >"$here/wasm/RUSTC"
    ;;
esac
