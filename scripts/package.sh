#!/usr/bin/env bash
# Makes Debian packages of both programs, into target/packages.
# Usage: scripts/package.sh [ARCH]       (amd64, arm64, armhf; default: this machine's)
# What goes where is in [package.metadata.deb] of each program's Cargo.toml.
# VERSION sets another version than the workspace's; SKIP_BUILD packs what was
# built before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/dist.sh
. scripts/dist.sh

# Most that one package may weigh: devices have small disks and slow links.
readonly PACKAGE_MIB_MAX=15

# Makes cargo-deb available as `cargo deb`, from crates.io if it is not here.
cargo_deb() {
    local tools=${CARGO_TARGET_DIR:-target}/tools
    mkdir -p "$tools"
    PATH=$(cd "$tools" && pwd)/bin:$PATH
    if ! cargo-deb --version >/dev/null 2>&1; then
        say "cargo-deb is missing; installing it into $tools"
        "${CARGO:-cargo}" install --quiet --locked --force --version '^3.8' --root "$tools" cargo-deb
    fi
}

# Manual pages, completions and changelogs of a program, into its folder.
documents() {
    local name=$1 folder=$DIST_BIN/package/$1 shell
    local -a run=("$DIST_BIN/$name")
    [ -z "$DIST_RUN" ] || run=("$DIST_RUN" "${run[@]}")
    rm -rf "$folder"
    mkdir -p "$folder/man" "$folder/completions"
    "${run[@]}" manual "$folder/man"
    gzip -9n "$folder"/man/*
    for shell in bash zsh fish; do
        "${run[@]}" completions "$shell" >"$folder/completions/$name.$shell"
    done
    gzip -9nc CHANGELOG.md >"$folder/changelog.gz"
    {
        printf '%s (%s) stable; urgency=medium\n\n  * See changelog.gz.\n\n' "$name" "$version"
        printf ' -- Alambic packagers <packagers@alambic.invalid>  %s\n' \
            "$(date -R -u -d "@$SOURCE_DATE_EPOCH")"
    } | gzip -9nc >"$folder/changelog.Debian.gz"
}

# $1 crate, $2 package
pack() {
    local file=$packages/$2_${version}_$arch.deb
    local -a options=(--profile dist --no-build --no-strip --locked)
    [ "$arch" = "$native" ] || options+=(--target "$CROSS_TARGET")
    documents "$2"
    # From the crate's folder, which the paths of its manifest start from.
    (cd "$1" && CARGO_TARGET_DIR=$target DEB_HOST_ARCH=$arch cargo-deb --quiet "${options[@]}" \
        --deb-version "$version" --output "$file")
    [ "$(stat -c %s "$file")" -le $((PACKAGE_MIB_MAX * 1024 * 1024)) ] ||
        fail "$file is larger than $PACKAGE_MIB_MAX MiB"
    if command -v lintian >/dev/null; then
        lintian --fail-on error --suppress-tags bad-distribution-in-changes-file "$file" ||
            fail "lintian finds errors in $file"
    else
        say "SKIPPED: lintian is not installed, so $file was not checked"
    fi
    say "$file, $(du -k "$file" | cut -f1) KiB"
}

native=$(dpkg --print-architecture)
arch=${1:-$native}
if [ "$arch" != "$native" ] && ! cross_is_here "$arch"; then
    exec scripts/cross-root.sh "$arch" scripts/package.sh "$arch"
fi
need dpkg-deb dpkg-shlibdeps
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)}-1
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
packages=${CARGO_TARGET_DIR:-target}/packages
mkdir -p "$packages"
packages=$(cd "$packages" && pwd)
cargo_deb
if [ -n "${SKIP_BUILD:-}" ]; then
    say "SKIP_BUILD: what was built before is packed"
    dist_places "$arch"
else
    dist_build "$arch"
fi
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
pack coordinator alambic-coordinator
pack edge-agent alambic-agent
