#!/usr/bin/env bash
# Checks deploy/ against the schemas of Kubernetes and of Compose, which two
# packages of Python bring, and by rules of its own (scripts/check-deploy.py). The
# configurations in it go through the programs themselves, where they are built.
# Skips, and says so, where Python or the packages are not to be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PACKAGES=(kubernetes-validate==1.37.0 check-jsonschema==0.39.0)

skip() {
    echo "check-deploy: SKIPPED, $1"
    exit 0
}

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    skip "there is no Python of version 3.10 or later"
tools=${CARGO_TARGET_DIR:-target}/check-deploy
if ! [ -f "$tools/made-${PACKAGES[*]//[^a-z0-9.]/-}" ]; then
    rm -rf "$tools"
    "$python" -m venv "$tools" 2>/dev/null || skip "Python has no venv (apt-get install python3-venv)"
    "$tools/bin/pip" install -q "${PACKAGES[@]}" 2>/dev/null || skip "pip cannot install ${PACKAGES[*]} here"
    : >"$tools/made-${PACKAGES[*]//[^a-z0-9.]/-}"
fi
exec "$tools/bin/python" scripts/check-deploy.py
