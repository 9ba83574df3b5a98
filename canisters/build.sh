#!/usr/bin/env bash
# Builds the storage canister reproducibly: the same sources and rustc give the same bytes in any
# folder, with any CARGO_HOME and from any mirror of crates.io.
#
#   canisters/build.sh           build, and write canisters/wasm
#   canisters/build.sh --check   build in a temporary folder, and compare with canisters/wasm
#
# canisters/wasm holds storage.wasm.gz (what is installed), SHA256SUMS (of it and of the module in
# it) and RUSTC (the compiler they belong to). The toolchain is Debian 12's rustc-web, because its
# archive carries both a wasm linker and the sources of std; rustup's wasm32 target gives other
# bytes. DATANODE_CARGO and DATANODE_RUSTC name other programs than /usr/bin/cargo and rustc.
set -euo pipefail
shopt -s inherit_errexit # else a failed build leaves an old module to be taken for the new one

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
cargo="${DATANODE_CARGO:-/usr/bin/cargo}"
rustc="${DATANODE_RUSTC:-/usr/bin/rustc}"
linker=wasm-ld-22
target=wasm32-unknown-unknown
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

# Builds into the folder $1 and prints the path of the module.
build() {
  local cargo_home="${CARGO_HOME:-$HOME/.cargo}" sysroot flags folder
  cd "$here"
  export RUSTC="$rustc" CARGO_TARGET_DIR="$1" CARGO_INCREMENTAL=0
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
  export RUSTC_BOOTSTRAP=1 # for -Zbuild-std alone: the crates use stable Rust
  unset RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_RUSTFLAGS
  "$cargo" fetch --quiet --locked --target "$target" >&2
  sysroot="$("$rustc" --print sysroot)"
  flags=(-C target-feature=+simd128 "--remap-path-prefix=$here=/datanode")
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
  "$cargo" build --locked --release --target "$target" --package datanode-storage \
    -Zbuild-std=std,panic_abort >&2
  echo "$1/$target/release/datanode_storage.wasm"
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

write() {
  local module="$1" out="$here/wasm"
  mkdir -p "$out"
  gzip -n -9 <"$module" >"$out/storage.wasm.gz"
  {
    echo "$(digest <"$out/storage.wasm.gz")  storage.wasm.gz"
    echo "$(digest <"$module")  storage.wasm"
  } >"$out/SHA256SUMS"
  "$rustc" -vV >"$out/RUSTC"
  cat "$out/SHA256SUMS"
}

# Compares modules, not their gzip forms, which depend on the gzip at hand.
compare() {
  local module="$1" out="$here/wasm" stated
  (cd "$out" && sha256sum --quiet --check --ignore-missing SHA256SUMS) ||
    fail "canisters/wasm/storage.wasm.gz is not what SHA256SUMS says"
  stated="$(gunzip -c "$out/storage.wasm.gz" | digest)"
  grep -qxF "$stated  storage.wasm" "$out/SHA256SUMS" ||
    fail "SHA256SUMS names another module than storage.wasm.gz holds"
  if [ "$(digest <"$module")" != "$stated" ]; then
    diff <("$rustc" -vV) "$out/RUSTC" >&2 ||
      fail "this is another rustc; run canisters/build.sh and commit canisters/wasm"
    fail "the sources give another module; run canisters/build.sh and commit canisters/wasm"
  fi
  echo "canisters/wasm is what the sources give: $stated"
}

check_toolchain
case "${1:-}" in
  "")
    module="$(build "${CARGO_TARGET_DIR:-$here/target/canister}")"
    check_paths "$module"
    write "$module"
    ;;
  --check)
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    module="$(build "$scratch")"
    check_paths "$module"
    compare "$module"
    ;;
  *) fail "usage: canisters/build.sh [--check]" ;;
esac
