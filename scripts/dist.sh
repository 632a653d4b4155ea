#!/usr/bin/env bash
# Builds the two programs as they are shipped, for this machine or another
# architecture. Sourced by the packaging scripts.
#
#   dist_build ARCH [static]   builds; ARCH is Debian's name (amd64, arm64, armhf)
#   $DIST_BIN                  then holds the programs
#   $DIST_RUN                  runs one of them here (empty, or an emulator)

# Debian's own compiler comes with standard libraries for other architectures.
readonly CROSS_RUSTC=/usr/bin/rustc

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }
fail() {
    printf '%s: %s\n' "$(basename "$0" .sh)" "$@" >&2
    exit 1
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null ||
            fail "$tool is missing; see \"Packages\" in docs/operations.md for what to install"
    done
}

dist_build() {
    local arch=$1 linkage=${2:-dynamic} native
    native=$(dpkg --print-architecture)
    local -a options=(--profile dist --locked -p coordinator -p edge-agent --bins)
    local target_dir=${CARGO_TARGET_DIR:-target}
    DIST_RUN=
    if [ "$linkage" = static ]; then
        [ "$arch" = "$native" ] || fail "static archives are made on the architecture itself only"
        static_openblas "$target_dir/static"
    fi
    if [ "$arch" = "$native" ]; then
        DIST_BIN=$target_dir/dist
    else
        cross_settings "$arch"
        options+=(--target "$CROSS_TARGET")
        DIST_BIN=$target_dir/$CROSS_TARGET/dist
    fi
    say "building for $arch (the first time takes some minutes)"
    "${CARGO:-cargo}" build "${options[@]}"
}

# The linker finds only archives where pkg-config sends it, so it takes them.
static_openblas() {
    local folder=$1 name path
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    path=$(pkg-config --variable=libdir openblas)/libopenblas.a
    [ -f "$path" ] || fail "there is no $path; install libopenblas-dev"
    ln -sfn "$path" "$folder/libopenblas.a"
    for name in libgfortran.a libquadmath.a; do
        path=$(gcc -print-file-name="$name")
        [ -f "$path" ] || fail "there is no $name; install gfortran"
        ln -sfn "$path" "$folder/$name"
    done
    cat >"$folder/openblas.pc" <<PC
Name: openblas
Description: OpenBLAS and what it stands on, as archives
Version: $(pkg-config --modversion openblas)
Libs: -L$folder -lopenblas -lgfortran -lquadmath -lm -lpthread
PC
    export PKG_CONFIG_PATH=$folder
}

cross_settings() {
    local arch=$1 gnu upper
    case $arch in
    arm64) CROSS_TARGET=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu DIST_RUN=qemu-aarch64-static ;;
    armhf) CROSS_TARGET=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf DIST_RUN=qemu-arm-static ;;
    *) fail "ARCH is \"$arch\", expected amd64, arm64 or armhf" ;;
    esac
    need "$gnu-gcc" "$DIST_RUN"
    [ -x "$CROSS_RUSTC" ] && [ -d "/usr/lib/rustlib/$CROSS_TARGET" ] ||
        fail "Debian's compiler for $arch is missing: rustc-web and libstd-rust-web-dev:$arch"
    [ -f "/usr/lib/$gnu/pkgconfig/openblas.pc" ] || fail "libopenblas-dev:$arch is missing"
    upper=${CROSS_TARGET^^}
    upper=${upper//-/_}
    export RUSTC=$CROSS_RUSTC
    export "CARGO_TARGET_${upper}_LINKER=$gnu-gcc"
    export "CC_${CROSS_TARGET//-/_}=$gnu-gcc"
    export PKG_CONFIG_ALLOW_CROSS=1
    export PKG_CONFIG_LIBDIR=/usr/lib/$gnu/pkgconfig:/usr/share/pkgconfig
    # Host and target are compiled by another compiler than usual.
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/cross
    target_dir=$CARGO_TARGET_DIR
}
