#!/usr/bin/env bash
# Builds the two programs as they are shipped, for this machine or another
# architecture. Sourced by the packaging scripts.
#
#   dist_build ARCH [static]   builds; ARCH is Debian's name (amd64, arm64, armhf)
#   $DIST_BIN                  then holds the programs
#   $DIST_RUN                  runs one of them here (empty, or an emulator)
# shellcheck disable=SC2034 # these two are for who sources this

# shellcheck source=scripts/messages.sh
. scripts/messages.sh

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null ||
            fail "$tool is missing; see \"Packages\" in docs/guide-operator.md for what to install"
    done
}

# Sets DIST_BIN and DIST_RUN for an architecture, and what cargo has to know.
dist_places() {
    DIST_RUN=
    if [ "$1" = "$(dpkg --print-architecture)" ]; then
        DIST_BIN=${CARGO_TARGET_DIR:-target}/dist
    else
        cross_settings "$1"
        DIST_BIN=$CARGO_TARGET_DIR/$CROSS_TARGET/dist
    fi
}

dist_build() {
    local arch=$1 linkage=${2:-dynamic}
    local -a options=(--profile dist --locked -p coordinator -p edge-agent --bins)
    dist_places "$arch"
    [ -z "$DIST_RUN" ] || options+=(--target "$CROSS_TARGET")
    [ "$linkage" != static ] || static_openblas "$arch"
    if ! runs_models; then
        say "this compiler is older than Rust 1.91: the programs are built without the feature onnx"
        options+=(--no-default-features)
    fi
    say "building for $arch (the first time takes some minutes)"
    "${CARGO:-cargo}" build "${options[@]}"
}

# Whether the compiler builds what runs models in ONNX.
runs_models() {
    local version
    version=$("${RUSTC:-rustc}" --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    [ "$(printf '%s\n' 1.91 "$version" | sort -V | head -1)" = 1.91 ]
}

# The linker finds only archives where pkg-config sends it, so it takes them.
static_openblas() {
    local arch=$1 folder=${CARGO_TARGET_DIR:-target}/static-$1 name path libs='' gcc=${DIST_RUN:+$CROSS_GNU-}gcc
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    path=$(pkg-config --variable=libdir openblas)/libopenblas.a
    [ -f "$path" ] || fail "there is no $path; install libopenblas-dev:$arch"
    ln -sfn "$path" "$folder/libopenblas.a"
    # gcc has libquadmath for amd64, not for ARM.
    for name in gfortran $([ "$arch" != amd64 ] || echo quadmath); do
        path=$("$gcc" -print-file-name="lib$name.a")
        [ -f "$path" ] || fail "there is no lib$name.a; install gfortran${DIST_RUN:+-$CROSS_GNU}"
        ln -sfn "$path" "$folder/lib$name.a"
        libs+=" -l$name"
    done
    cat >"$folder/openblas.pc" <<PC
Name: openblas
Description: OpenBLAS and what it stands on, as archives
Version: $(pkg-config --modversion openblas)
Libs: -L$folder -lopenblas$libs -lm -lpthread
PC
    export PKG_CONFIG_PATH=$folder
}

# Sets CROSS_TARGET, CROSS_GNU and DIST_RUN for an architecture.
cross_names() {
    case $1 in
    arm64) CROSS_TARGET=aarch64-unknown-linux-gnu CROSS_GNU=aarch64-linux-gnu DIST_RUN=qemu-aarch64-static ;;
    armhf) CROSS_TARGET=armv7-unknown-linux-gnueabihf CROSS_GNU=arm-linux-gnueabihf DIST_RUN=qemu-arm-static ;;
    *) fail "ARCH is \"$1\", expected amd64, arm64 or armhf" ;;
    esac
}

# Sets CROSS_RUSTC to a compiler with the standard library for CROSS_TARGET:
# the usual one, where rustup has added it, or Debian's.
cross_rustc() {
    for CROSS_RUSTC in "$(command -v rustc)" /usr/bin/rustc; do
        [ ! -d "$("$CROSS_RUSTC" --print sysroot 2>/dev/null)/lib/rustlib/$CROSS_TARGET/lib" ] || return 0
    done
    return 1
}

# Whether this system itself has all that building for an architecture takes:
# a compiler with that standard library, the linker, and its OpenBLAS.
cross_is_here() {
    cross_names "$1"
    cross_rustc && [ -f "/usr/lib/$CROSS_GNU/pkgconfig/openblas.pc" ] &&
        command -v "$CROSS_GNU-gcc" "$DIST_RUN" >/dev/null
}

cross_settings() {
    local upper
    cross_is_here "$1" ||
        fail "this system cannot build for $1: see \"Packages\" in docs/guide-operator.md"
    upper=${CROSS_TARGET^^}
    upper=${upper//-/_}
    export RUSTC=$CROSS_RUSTC
    export "CARGO_TARGET_${upper}_LINKER=$CROSS_GNU-gcc"
    export "CC_${CROSS_TARGET//-/_}=$CROSS_GNU-gcc"
    export PKG_CONFIG_ALLOW_CROSS=1
    export PKG_CONFIG_LIBDIR=/usr/lib/$CROSS_GNU/pkgconfig:/usr/share/pkgconfig
    # Host and target are compiled by another compiler than usual.
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/cross
}
