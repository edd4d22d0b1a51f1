# What one types here: `make` lists it. Each target installs or builds what it needs first (.ci/setup says what it does).
# Owns the order of things; the tools are .ci/setup's, the etcd servers tests/etcd/build.sh's, the rest is cargo's.

CARGO ?= cargo
# One folder for everything that is built.
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Recipes print their own headings; several at once would mix them up, and cargo uses all cores by itself.
.NOTPARALLEL:
.PHONY: help demo test test-rust test-c test-cpp test-python etcd lint header fmt bench bench-quick bench-build faults neighbours neighbours-build clean setup-build setup-test
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-build ## the tour: leaders elected, killed, paused, deposed; with ETCD=host:port on a real etcd
	@echo "==> building"
	@$(CARGO) build --quiet -p leadership-cli
	@$(CARGO) run --quiet -p leadership-cli -- $(if $(ETCD),--endpoints $(ETCD)) demo

test: setup-test etcd lint test-rust test-c test-cpp test-python ## everything: lint, tests on the test server and on real etcd 3.4 to 3.7
# The suites of the other languages join the line above, each a target of its own: test-go.
	@echo "==> all passed"

# Every suite runs, also after one that failed: a reader wants all the news at once.
# Live tests wait more than they work: twice as many at once as there are cores.
# loom's models are among them, as plain tests: loom needs no `--cfg loom`, and under that flag tokio has no sockets.
test-rust: setup-test etcd neighbours-build
	@echo "==> cargo test"
	@RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((2 * $$(nproc)))} $(CARGO) test --no-fail-fast

# The package as a user installs it, but unoptimised, in an environment of its own; PYTHON chooses another interpreter.
PYTHON ?= python3
VENV := $(TARGET)/python-venv
test-python: setup-test etcd ## the Python package, on the test server and on etcd 3.7
	@echo "==> pytest"
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r python/requirements-test.txt
	@PATH="$(abspath $(VENV))/bin:$$PATH" $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-build-isolation \
	  --no-deps --force-reinstall -C build-args="--profile dev" ./python
	@$(VENV)/bin/python -m pytest --quiet -p no:cacheprovider python/tests

test-c test-cpp: setup-test etcd
	@tests/abi/run.sh $(@:test-%=%)

etcd: setup-test ## the pinned etcd servers for the live tests, into .cache/etcd
	@tests/etcd/build.sh

lint: setup-test ## clippy, warnings are errors
	@echo "==> clippy"
	@$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings

header: setup-build ## include/leadership.h anew from ffi/src; a test compares the two
	@header=$$($(CARGO) build --quiet -p leadership-ffi --message-format json \
	  | sed -n 's/.*"reason":"build-script-executed".*leadership-ffi.*"out_dir":"\([^"]*\)".*/\1/p' | tail -n 1)/leadership.h; \
	cp "$$header" include/leadership.h && echo "include/leadership.h"
	@header=$$($(CARGO) build --quiet -p leadership-testkit-ffi --message-format json \
	  | sed -n 's/.*"reason":"build-script-executed".*testkit\/ffi.*"out_dir":"\([^"]*\)".*/\1/p' | tail -n 1)/leadership_testkit.h; \
	cp "$$header" include/leadership_testkit.h && echo "include/leadership_testkit.h"

fmt: ## formats the Rust code
	@$(CARGO) fmt --all

bench: bench-build ## our figures, as ratios measured in one run (15 min after the build; docs/bench.md)
	@echo "==> bench"
	@LEADERSHIP_BENCH_PYTHON="$(abspath $(BENCH_VENV))/bin/python" $(CARGO) bench --quiet -p leadership-bench

bench-quick: bench-build ## the same in short, 5 min
	@echo "==> bench, short form"
	@LEADERSHIP_BENCH_PYTHON="$(abspath $(BENCH_VENV))/bin/python" $(CARGO) bench --quiet -p leadership-bench -- --quick

# What the bench runs in processes of their own, as their users have it: the C library and the Python package, optimised.
BENCH_VENV := $(TARGET)/bench-venv
bench-build: setup-test etcd
	@echo "==> building the C library and the Python package"
	@$(CARGO) build --quiet --release -p leadership-ffi
	@test -x $(BENCH_VENV)/bin/pip || $(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check -r python/requirements-test.txt
	@PATH="$(abspath $(BENCH_VENV))/bin:$$PATH" $(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check \
	  --no-build-isolation --no-deps --force-reinstall ./python

# FAULTS chooses: scenarios, --etcd, --ttl, --keys, --trials (docs/faults.md).
faults: setup-test etcd ## what etcd, networks and stopped processes do to leaders, on etcd 3.4 and 3.7 (hours; docs/faults.md)
	@echo "==> faults"
	@$(CARGO) run --quiet -p leadership-faults -- $(FAULTS)

# NEIGHBOURS chooses: --etcd, --cycles.
neighbours: setup-test etcd neighbours-build ## our electors among etcdctl and etcd's Go client, on etcd 3.4 and 3.7 (10 min; docs/faults.md)
	@echo "==> neighbours"
	@$(CARGO) run --quiet -p leadership-faults -- neighbours $(NEIGHBOURS)

# The contenders on etcd's Go client, into .cache/neighbours.
neighbours-build: setup-test
	@tests/neighbours/build.sh

clean: ## removes what was built, the etcd servers included
	@rm -rf $(TARGET) .cache

setup-build:
	@.ci/setup build

setup-test:
	@.ci/setup build test
