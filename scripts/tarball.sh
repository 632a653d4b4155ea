#!/usr/bin/env bash
# Makes one archive for each program, into target/packages: the program with
# OpenBLAS inside, its configuration, units, manual pages and completions. It
# runs where neither OpenBLAS nor Fortran's library is installed.
# Usage: scripts/tarball.sh [ARCH]       (amd64, arm64, armhf; default: this machine's)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/dist.sh
. scripts/dist.sh

native=$(dpkg --print-architecture)
arch=${1:-$native}
if [ "$arch" != "$native" ] && ! cross_is_here "$arch"; then
    exec scripts/cross-root.sh "$arch" scripts/tarball.sh "$arch"
fi
need pkg-config gcc xz objdump
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)}
packages=${CARGO_TARGET_DIR:-target}/packages

# $1 program, $2 configuration, rest: units
archive() {
    local name=$1 config=$2 folder root shell
    local -a run=("$DIST_BIN/$1")
    shift 2
    folder=$name-$version-$arch
    root=$(mktemp -d)
    install -D -m 0755 "$DIST_BIN/$name" "$root/$folder/$name"
    if objdump -p "$root/$folder/$name" | grep -E 'NEEDED.*(openblas|gfortran|quadmath)'; then
        fail "$name still asks for the libraries above"
    fi
    install -m 0644 LICENSE README.md CHANGELOG.md "configs/$config" "$root/$folder/"
    install -d "$root/$folder"/{man,completions,systemd,examples}
    [ -z "$DIST_RUN" ] || run=("$DIST_RUN" "${run[@]}")
    "${run[@]}" manual "$root/$folder/man"
    for shell in bash zsh fish; do
        "${run[@]}" completions "$shell" >"$root/$folder/completions/$name.$shell"
    done
    for unit in "$@"; do
        install -m 0644 "systemd/$unit" "$root/$folder/systemd/"
    done
    install -m 0644 configs/task-*.toml "$root/$folder/examples/"
    mkdir -p "$packages"
    tar -C "$root" --owner=0 --group=0 --sort=name -cJf "$packages/$folder.tar.xz" "$folder"
    rm -rf "$root"
    say "$packages/$folder.tar.xz, $(du -k "$packages/$folder.tar.xz" | cut -f1) KiB"
}

dist_build "$arch" static
archive alambic-coordinator coordinator.toml alambic-coordinator.service \
    alambic-coordinator-backup.service alambic-coordinator-backup.timer alambic-gateway.service
archive alambic-agent agent.toml alambic-agent.service alambic-agent-pull.service alambic-agent-pull.timer
