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

MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: help setup demo demo-inference docs test test-python test-canisters check fix lock wasm wasm-check conformance \
  rust-agent postgres bench rehearsal nightly release-check sbom

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

demo-inference: setup  ## a real model: uploaded, promoted, asked on chain, each step with its cost
	$(BIN)/python -m tests.demo.inference

check: setup  ## formatting, lint, types, import rules, spelling, documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	git ls-files -z | xargs -0 $(BIN)/codespell
	$(MKDOCS) --quiet
	@if [ -n "$(CARGO)" ] && $(CARGO) clippy --version >/dev/null 2>&1; then \
	  $(CARGO) fmt --check --all $(MANIFEST) && \
	  $(CARGO) clippy --quiet --locked --workspace --all-targets --all-features $(MANIFEST) -- -D warnings; \
	else echo "cargo clippy is not installed: canisters/ was not linted"; fi

docs: setup  ## write the generated sections, build the pages into build/docs
	$(BIN)/python -m tests.documents
	$(MKDOCS)

# Side by side: tests wait for disks and processes, and compiling is seldom busy on two cores.
test: setup  ## everything that must hold
	@$(MAKE) --no-print-directory -k -j3 check test-canisters test-python

test-python: setup
	$(BIN)/pytest -n 3 --dist worksteal -q -m "not conformance and not nightly"

# The inference canister apart: its features give the store another layout.
test-canisters:
	@if [ -n "$(CARGO)" ]; then \
	  $(CARGO) test --quiet --locked --workspace --exclude datanode-inference \
	    --features datanode-codec/decode $(MANIFEST) && \
	  $(CARGO) test --quiet --locked --package datanode-inference $(MANIFEST); \
	else echo "cargo is not installed: the native tests of canisters/ did not run"; fi

fix: setup  ## format and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

release-check: setup  ## wheel and sdist in fresh environments, for every Python that is installed
	$(BIN)/pytest -q -s -m nightly tests/release

sbom: setup  ## the wheel's parts as CycloneDX, from a fresh environment: build/datanode.cdx.json
	rm -rf build/sbom && $(PYTHON) -m venv build/sbom/venv
	$(BIN)/python -m build --quiet --wheel --no-isolation --outdir build/sbom .
	build/sbom/venv/bin/python -m pip install --quiet "$$(ls build/sbom/*.whl)[localnet,sign]"
	build/sbom/venv/bin/python -m pip uninstall --quiet --yes pip setuptools
	sed "s/^dynamic = .*/version = \"$$(build/sbom/venv/bin/datanode --version | cut -d' ' -f2)\"/" \
	  pyproject.toml > build/sbom/pyproject.toml
	$(BIN)/cyclonedx-py environment --output-reproducible --pyproject build/sbom/pyproject.toml --mc-type library \
	  --of JSON -o build/datanode.cdx.json build/sbom/venv

lock:  ## write requirements-dev.txt from pyproject.toml (needs uv)
	uv export --quiet --all-extras --no-emit-project --no-annotate --no-header -o requirements-dev.txt
	@rm -f uv.lock

wasm:  ## build canisters/wasm from source
	canisters/build.sh

wasm-check:  ## rebuild and compare with the committed modules
	canisters/build.sh --check storage inference host_decode

conformance: setup  ## clients that nobody here wrote, against the embedded network (npm)
	$(BIN)/pytest -q -m "conformance and not nightly" tests/conformance

rust-agent: setup  ## the Rust agent against the embedded network (cargo builds it for minutes)
	CARGO="$(CARGO)" $(BIN)/pytest -q -m "conformance and nightly" tests/conformance

postgres: setup  ## the state's tests against a PostgreSQL server of their own
	tests/with_postgres.sh $(BIN)/pytest -q -k postgresql tests/uploader/state tests/migrations \
		tests/cli/test_batch.py

bench: setup  ## measure; writes JSON to build/bench.json
	$(BIN)/python -m tests.bench

rehearsal: setup  ## 16 GB of frames through two canisters; Llama 3 8B shapes over a fleet of five
	$(BIN)/python -m tests.bench.rehearsal
	$(BIN)/python -m tests.bench.fleet_rehearsal

nightly: setup  ## the long forms: more kills, more mutations, the rehearsal
	HYPOTHESIS_PROFILE=nightly DATANODE_QUIET=1 DATANODE_MUTATIONS=60000 DATANODE_KILLS=2000 DATANODE_SIGNALS=500 \
	  DATANODE_SERVER_KILLS=200 DATANODE_HISTORIES=300 \
	  $(BIN)/pytest -n 2 --dist worksteal -q -m "not conformance" --ignore=tests/release
	STORE_CASES=1000 $(CARGO) test --quiet --locked --package datanode-store --test store $(MANIFEST) -- \
	  walks model_based
	$(CARGO) test --quiet --locked --package datanode-store --test store $(MANIFEST) -- --ignored equal_cost
	canisters/build.sh --check llama_lab candid_text
	$(CARGO) clippy --quiet --locked --manifest-path canisters/candid_text/Cargo.toml -- -D warnings
	$(MAKE) --no-print-directory rust-agent
	$(BIN)/python -m tests.bench.rehearsal
	$(BIN)/python -m tests.bench.fleet_rehearsal
