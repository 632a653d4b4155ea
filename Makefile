# Everything a person types here. `make` alone lists it.

SHELL := /bin/bash
CARGO ?= cargo

# Many programs and tests run at once: one BLAS thread each, or they fight.
export OPENBLAS_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help deps build demo test lint deny bench deb tarball try-packages

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

deps: ## Install missing system packages (Debian, Ubuntu)
	@bash scripts/install-deps.sh

build: deps ## Build the three programs into target/release
	$(CARGO) build --release --locked --workspace --bins

demo: build ## Run a fleet on this machine; pass options as ARGS="--rounds 2 --keep"
	@target/release/alambic-lab demo $(ARGS)

# The end-to-end tests run the real programs, so these are built first.
test: build ## Run every test
	@if [ -d ../shared/data ]; then \
		echo "test: the larger data sets of ../shared/data are there and take part"; \
	else \
		echo "test: SKIPPED what needs the larger data sets: ../shared/data is not there"; \
	fi
	$(CARGO) test --release --locked --workspace $(ARGS)

lint: deps ## Formatting, clippy, documentation and dependency rules
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --release --locked --workspace --no-deps
	@$(MAKE) --no-print-directory deny

deny: ## Licences, sources and advisories of dependencies, where cargo-deny is installed
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --locked check; \
	else \
		echo "deny: SKIPPED, cargo-deny is not installed (the rules are in deny.toml)"; \
	fi

bench: deps ## Run the benches; ALAMBIC_BENCH_TINY=1 makes them tiny
	$(CARGO) bench --locked --workspace --bench '*' $(ARGS)

deb: deps ## Debian packages, into target/packages; ARCH=arm64 or ARCH=armhf for devices
	@bash scripts/package.sh $(ARCH)

tarball: deps ## One archive a program, with OpenBLAS inside, into target/packages
	@bash scripts/tarball.sh

try-packages: ## Install, start, upgrade, remove and purge them in a clean Debian 12 (root)
	@bash scripts/try-packages.sh
