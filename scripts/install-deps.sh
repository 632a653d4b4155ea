#!/usr/bin/env bash
# Installs what building and testing Alambic needs from Debian or Ubuntu, and
# only what is missing. Does nothing, and asks for nothing, when all is there.
# Usage: scripts/install-deps.sh [PACKAGE...]     those are needed too
set -euo pipefail

# shellcheck source=scripts/messages.sh
. "$(dirname "${BASH_SOURCE[0]}")/messages.sh"

# package     why
readonly NEEDED=(
    gcc             # links Rust programs; compiles ring's C
    libc6-dev       # headers and start files for the linker
    pkg-config      # finds OpenBLAS
    libopenblas-dev # matrix products and Cholesky, with LAPACK inside
    "$@"
)

missing() {
    local package status
    for package in "${NEEDED[@]}"; do
        # Read whole, then compared: behind a pipe that closes early, dpkg
        # would fail by its broken pipe and an installed package seem missing.
        # shellcheck disable=SC2016 # dpkg expands it, not the shell
        status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || status=
        if [ "$status" != installed ]; then
            printf '%s\n' "$package"
        fi
    done
}

check_rust() {
    if command -v cargo >/dev/null; then
        return
    fi
    if [ -x "$HOME/.cargo/bin/cargo" ]; then
        fail "cargo is in $HOME/.cargo/bin but not in PATH." \
            "Run: . \"$HOME/.cargo/env\"   and try again."
    fi
    fail "Rust is not installed: no cargo in PATH." \
        "Install Rust 1.91 or newer (https://www.rust-lang.org/tools/install) and try again."
}

# The command that acts as root: nothing for root itself, sudo for others.
# Without a terminal sudo must not ask, it would wait for ever.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null; then
        fail "packages are missing and there is no sudo. As root, run:" \
            "  apt-get install ${packages[*]}"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

check_rust

if ! command -v dpkg >/dev/null || ! command -v apt-get >/dev/null; then
    if command -v cc >/dev/null && command -v pkg-config >/dev/null &&
        pkg-config --exists openblas; then
        exit 0
    fi
    fail "this system has no apt-get, so nothing was installed." \
        "Install by your own package manager: a C compiler, pkg-config, and OpenBLAS" \
        "with its development files and LAPACK (pkg-config must find 'openblas')."
fi

mapfile -t packages < <(missing)
if [ "${#packages[@]}" -eq 0 ]; then
    exit 0
fi

say "missing: ${packages[*]}"
if [ "$(id -u)" -eq 0 ]; then
    say "installing them with apt-get"
else
    say "installing them with sudo apt-get; sudo may ask for your password"
fi
if ! as_root apt-get update -q; then
    say "the package lists could not be refreshed; trying with those at hand"
fi
as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${packages[@]}" ||
    fail "apt-get could not install: ${packages[*]}" \
        "Install them by hand and try again."

mapfile -t packages < <(missing)
if [ "${#packages[@]}" -ne 0 ]; then
    fail "still missing after the installation: ${packages[*]}"
fi
say "done"
