#!/usr/bin/env bash
# Runs one of this project's scripts in a Debian 12 of its own, in which
# compiler and libraries for another architecture are installed. The system
# around it stays as it is: foreign -dev packages are not for a machine that
# somebody works on.
# Usage: scripts/cross-root.sh ARCH COMMAND...            (arm64 or armhf)
#
# The compiler is Debian's, or this machine's where it has the standard library
# for the architecture (rustup target add).
#
# The root is made once, by debootstrap, in target/cross-root (CROSS_ROOT names
# another place) and takes 3 GiB. BASE_ROOT names the tarball of a fresh Debian
# 12 root, DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR other mirrors. Needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/dist.sh
. scripts/dist.sh

readonly PACKAGES=(
    gcc libc6-dev pkg-config libopenblas-dev # what build scripts and cargo-deb take
    dpkg-dev ca-certificates qemu-user-static lintian xz-utils
)

# Only what is inside sees the mounts, and they go with the last process.
inside() {
    # shellcheck disable=SC2016 # the shell inside expands it
    unshare --mount --propagation private -- bash -euc '
        root=$1 sources=$2 registry=$3 rust=$4
        shift 4
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mkdir -p "$root/alambic" "$root/cargo/registry"
        mount --bind "$sources" "$root/alambic"
        # Whom this machine trusts, which may be a proxy of its own.
        trusted=/etc/ssl/certs/ca-certificates.crt
        [ -f "$trusted" ] || trusted=
        [ -z "$trusted" ] || { touch "$root/trusted.crt" && mount --bind "$trusted" "$root/trusted.crt"; }
        [ -z "$rust" ] || { mkdir -p "$root/rust" && mount --bind "$rust" "$root/rust"; }
        [ ! -d "$registry" ] || mount --bind "$registry" "$root/cargo/registry"
        exec chroot "$root" env -i HOME=/root CARGO_HOME=/cargo LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            ${trusted:+CARGO_HTTP_CAINFO=/trusted.crt} PATH=/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-}" \
            VERSION="${VERSION:-}" SKIP_BUILD="${SKIP_BUILD:-}" sh -c "cd /alambic && exec \"\$@\"" sh "$@"
    ' inside "$root" "$PWD" "${CARGO_HOME:-$HOME/.cargo}/registry" "$rust" "$@"
}

# This machine's compiler, if it has the standard library for the architecture.
own_rust() {
    local sysroot
    sysroot=$(rustc --print sysroot 2>/dev/null) || return 0
    [ ! -d "$sysroot/lib/rustlib/$CROSS_TARGET/lib" ] || printf '%s\n' "$sysroot"
}

readonly MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
readonly SECURITY_MIRROR=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}

make_root() {
    [ ! -f "$root/etc/made" ] || return 0
    rm -rf "$root"
    mkdir -p "$root"
    if [ -n "${BASE_ROOT:-}" ]; then
        tar -C "$root" -xf "$BASE_ROOT"
    else
        command -v debootstrap >/dev/null ||
            fail "to build for $arch, a Debian 12 of its own is needed: apt-get install debootstrap"
        say "making a Debian 12 in $root (some minutes, once)"
        debootstrap --variant=minbase bookworm "$root" "$MIRROR" >/dev/null
    fi
    : >"$root/etc/made"
}

# Debian's compiler that is new enough comes as a security update. Its options
# are the argument.
write_sources() {
    {
        printf 'deb %s bookworm main\ndeb %s bookworm-updates main\n' "$MIRROR" "$MIRROR"
        printf 'deb %s%s bookworm-security main\n' "${1:+[$1] }" "$SECURITY_MIRROR"
    } >"$root/etc/apt/sources.list"
}

# Not every mirror has every architecture's security updates; one that it lacks
# keeps nobody from the others. Its libraries are in the main suite too, only
# the compiler may not be.
update_lists() {
    local others options
    others=$(inside dpkg --print-foreign-architectures | { grep -vx "$arch" || true; } | paste -sd,)
    for options in '' ${others:+"arch-=$others"} "arch-=$arch${others:+,$others}"; do
        write_sources "$options"
        ! apt_get update || return 0
        say "not all security updates can be had; going on without some"
    done
    apt_failed
}

add_architecture() {
    # The number goes up where more is installed than before.
    local made=$root/etc/made-$arch-2${rust:+-own}
    local -a compiler=(rustc-web cargo-web "libstd-rust-web-dev:$arch")
    [ -z "$rust" ] || compiler=()
    [ ! -f "$made" ] || return 0
    say "installing compiler and libraries for $arch in $root (some minutes, once)"
    inside dpkg --add-architecture "$arch"
    update_lists
    apt_get -y --no-install-recommends install "${PACKAGES[@]}" "${compiler[@]}" \
        "gcc-$CROSS_GNU" "gfortran-$CROSS_GNU" "libc6-dev-$arch-cross" "libopenblas-dev:$arch" || apt_failed
    : >"$made"
}

apt_get() {
    inside apt-get -q "$@" >"$root/tmp/apt.log" 2>&1
}

apt_failed() {
    tail -15 "$root/tmp/apt.log" >&2
    # A foreign architecture whose lists cannot be had spoils those of the others.
    inside dpkg --remove-architecture "$arch" >/dev/null 2>&1 || true
    fail "Debian's packages for $arch could not be installed (above); where it is the compiler that" \
        "is missing, rustup target add $CROSS_TARGET stands in for it. See \"Packages\" in docs/guide-operator.md"
}

[ $# -ge 2 ] || fail "usage: scripts/cross-root.sh ARCH COMMAND..."
arch=$1
shift
cross_names "$arch"
[ "$(id -u)" -eq 0 ] ||
    fail "building for $arch takes a Debian 12 of its own, which only root can make: sudo make deb ARCH=$arch" \
        "(or install on this system what \"Packages\" in docs/guide-operator.md lists)"
need unshare chroot flock
root=${CROSS_ROOT:-${CARGO_TARGET_DIR:-target}/cross-root}
mkdir -p "$root"
root=$(cd "$root" && pwd)
rust=$(own_rust)
# Two architectures may be built at once, but not installed.
exec {lock}>"$root.lock"
flock "$lock"
make_root
add_architecture
exec {lock}>&-
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
inside "$@"
