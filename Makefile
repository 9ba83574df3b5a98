# Every command of the project. `make setup` makes .venv; everything else runs inside it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
MANIFEST := --manifest-path canisters/Cargo.toml
# The first cargo that works: a rustup shim without a toolchain does not, and Debian's is not to
# find that shim's rustc.
DEBIAN_CARGO := RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc /usr/bin/cargo
CARGO := $(shell cargo --version >/dev/null 2>&1 && echo cargo || \
  { /usr/bin/cargo --version >/dev/null 2>&1 && echo "$(DEBIAN_CARGO)"; })

# cargo would look for make's jobserver, which only makes of make's own may use.
unexport MAKEFLAGS MFLAGS

.PHONY: help setup demo test test-python test-canisters check fix lock wasm wasm-check conformance \
  rust-agent postgres bench rehearsal nightly

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(STAMP)  ## make .venv from the hashed lock

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' 2>/dev/null || \
	  { echo "Python 3.11 or newer with venv is needed: apt-get install -y python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --only-binary :all: \
	  --no-binary antlr4-python3-runtime -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## the main job on the embedded network; MODEL=path for a checkpoint of your own
	$(BIN)/python -m tests.demo $(if $(MODEL),--model "$(MODEL)")

check: setup  ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@if [ -n "$(CARGO)" ] && $(CARGO) clippy --version >/dev/null 2>&1; then \
	  $(CARGO) fmt --check --all $(MANIFEST) && \
	  $(CARGO) clippy --quiet --locked --workspace --all-targets --all-features $(MANIFEST) -- -D warnings; \
	else echo "cargo clippy is not installed: canisters/ was not linted"; fi

test:  ## everything that must hold
	@$(MAKE) --no-print-directory -j2 -k check test-python test-canisters

test-python: setup
	$(BIN)/pytest -n 2 --dist worksteal -q -m "not conformance and not nightly"

test-canisters:
	@if [ -n "$(CARGO)" ]; then \
	  $(CARGO) test --quiet --locked --workspace --all-features $(MANIFEST); \
	else echo "cargo is not installed: the native tests of canisters/ did not run"; fi

fix: setup  ## format and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:  ## write requirements-dev.txt from pyproject.toml (needs uv)
	uv export --quiet --all-extras --no-emit-project --no-annotate --no-header -o requirements-dev.txt
	@rm -f uv.lock

wasm:  ## build canisters/wasm from source
	canisters/build.sh

wasm-check:  ## rebuild and compare with the committed modules
	canisters/build.sh --check

conformance: setup  ## clients that nobody here wrote, against the embedded network (npm, cargo)
	CARGO="$(CARGO)" $(BIN)/pytest -q -m conformance tests/conformance

# What the conformance tests would build in their midst; cargo lets them wait for a build under way.
rust-agent:
	$(CARGO) build --quiet --locked --manifest-path tests/conformance/rust_agent/Cargo.toml \
	  --target-dir build/conformance/rust_agent

postgres: setup  ## the state's tests against a PostgreSQL server of their own
	tests/with_postgres.sh $(BIN)/pytest -q -k postgresql tests/uploader/state tests/migrations

bench: setup  ## measure; writes JSON to build/bench.json
	$(BIN)/python -m tests.bench

rehearsal: setup  ## 16 GB of frames through two canisters of one network
	$(BIN)/python -m tests.bench.rehearsal

nightly: setup  ## the long forms: more kills, more mutations, the rehearsal
	HYPOTHESIS_PROFILE=nightly DATANODE_MUTATIONS=60000 DATANODE_KILLS=2000 DATANODE_SIGNALS=500 \
	  DATANODE_SERVER_KILLS=200 \
	  $(BIN)/pytest -n 2 --dist worksteal -q -m "not conformance"
	$(BIN)/python -m tests.bench.rehearsal
