# Everything a person types here. `make` alone lists it.

SHELL := /bin/bash
CARGO ?= cargo

# Many programs and tests run at once: one BLAS thread each, or they fight.
export OPENBLAS_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help deps build demo test lint deny msrv docs bench python fuzz deb tarball images check-deploy \
	try-packages try-runbook try-images

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

deps: ## Install missing system packages (Debian, Ubuntu)
	@bash scripts/install-deps.sh

build: deps ## Build the three programs into target/release
	$(CARGO) build --release --locked --workspace --bins

demo: build ## Run a fleet on this machine; pass options as ARGS="--rounds 2 --keep"
	@target/release/alambic-lab demo $(ARGS)

# The script builds the programs along with the tests that start them.
test: deps ## Run every test
	@if [ -d ../shared/data ]; then \
		echo "test: the larger data sets of ../shared/data are there and take part"; \
	else \
		echo "test: SKIPPED what needs the larger data sets: ../shared/data is not there"; \
	fi
	@CARGO="$(CARGO)" bash scripts/test.sh $(ARGS)

lint: deps ## Formatting, clippy, documentation and dependency rules
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --release --locked --workspace --no-deps
	@$(MAKE) --no-print-directory deny
	@if command -v shellcheck >/dev/null; then \
		shellcheck -x scripts/*.sh .ci/run packaging/*/postinst packaging/*/postrm packaging/*/prerm; \
	else \
		echo "lint: SKIPPED the shell scripts: shellcheck is not installed"; \
	fi

deny: ## Licences, sources and advisories of dependencies, where cargo-deny is installed
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --locked check; \
	else \
		echo "deny: SKIPPED, cargo-deny is not installed (the rules are in deny.toml)"; \
	fi

# The versions stand as rust-version in Cargo.toml, for what servers and devices run (which
# Debian's compilers for other architectures build), and in lab/Cargo.toml for the rest.
MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
MSRV_LAB = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' lab/Cargo.toml)

msrv: deps ## Check that the oldest supported compilers build everything, if rustup has them
	@check() { \
		version=$$1; shift; \
		if rustup run $$version cargo --version >/dev/null 2>&1; then \
			CARGO_TARGET_DIR=target/msrv rustup run $$version cargo check --locked --all-targets "$$@"; \
		else \
			echo "msrv: SKIPPED, rustup has no Rust $$version here (rustup toolchain install $$version)"; \
		fi; \
	}; \
	check $(MSRV) -p coordinator -p edge-agent --no-default-features && check $(MSRV_LAB) --workspace

docs: ## The documents as a book, into target/book/html, if mdbook is installed
	@bash scripts/book.sh

bench: deps ## Run the benches; ALAMBIC_BENCH_TINY=1 makes them tiny
	$(CARGO) bench --locked --workspace --bench '*' $(ARGS)

python: deps ## The Python package: a wheel in target/wheels, tried in a clean environment
	@bash scripts/python.sh

deb: deps ## Debian packages, into target/packages; ARCH=arm64 or ARCH=armhf for devices
	@bash scripts/package.sh $(ARCH)

tarball: ## One archive a program, with OpenBLAS inside, into target/packages; ARCH as for deb
	@bash scripts/install-deps.sh gfortran xz-utils
	@bash scripts/tarball.sh $(ARCH)

images: ## Container images without a daemon, into target/images; ARCH="amd64 arm64 armhf" for more
	@bash scripts/install-deps.sh gfortran
	@bash scripts/images.sh $(ARCH:all=amd64 arm64 armhf)

check-deploy: ## Compose file and Kubernetes manifests against their schemas, where pip is
	@bash scripts/check-deploy.sh

try-packages: ## Install, start, upgrade, remove and purge them in a clean Debian 12 (root)
	@bash scripts/try-packages.sh

try-runbook: ## Type docs/guide-operator.md from beginning to end on four clean Debian 12 (root)
	@bash scripts/try-runbook.sh

try-images: ## Run a fleet in the images, read-only and confined, by what this machine has
	@bash scripts/try-images.sh

# libFuzzer takes the coverage that a stable compiler can be asked for. What
# it finds worth keeping goes to fuzz/corpus, what breaks to fuzz/artifacts;
# an input that broke something belongs in tests/corpus once that is mended.
SECONDS_EACH ?= 60
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module \
	-Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares
FUZZ_HOST = $(shell rustc -vV | sed -n 's/^host: //p')

fuzz: deps ## Fuzz one decoder, guided by coverage: make fuzz TARGET=npz SECONDS_EACH=1800
	@command -v c++ >/dev/null || \
		{ echo "fuzz: libFuzzer needs a C++ compiler: apt-get install g++" >&2; exit 1; }
	cd fuzz && RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --locked --target $(FUZZ_HOST)
	mkdir -p fuzz/corpus/$(TARGET) fuzz/artifacts
	cd fuzz && ALAMBIC_FUZZ_TARGET=$(TARGET) target/$(FUZZ_HOST)/release/fuzz \
		corpus/$(TARGET) ../tests/corpus/$(TARGET) -artifact_prefix=artifacts/$(TARGET)- \
		-max_total_time=$(SECONDS_EACH) -timeout=5 -rss_limit_mb=2048 -print_final_stats=1
