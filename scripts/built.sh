#!/usr/bin/env bash
# What `make deb` and `make tarball` have built for this machine. Sourced.
#
#   built_find      sets BUILT_DEBS and BUILT_ARCHIVES, and fails without packages
#   built_age DIR   packs the packages once more under an older number, into DIR

built_find() {
    local arch folder=${CARGO_TARGET_DIR:-target}/packages
    arch=$(dpkg --print-architecture)
    shopt -s nullglob
    BUILT_DEBS=("$folder"/alambic-*_"$arch".deb)
    # shellcheck disable=SC2034 # for who sources this
    BUILT_ARCHIVES=("$folder"/alambic-*-"$arch".tar.xz)
    shopt -u nullglob
    [ ${#BUILT_DEBS[@]} -eq 2 ] ||
        fail "there should be two packages for $arch in $folder, one version of each: make deb"
}

built_age() {
    local package work
    for package in "${BUILT_DEBS[@]}"; do
        work=$(mktemp -d)
        dpkg-deb -R "$package" "$work"
        sed -i 's/^Version: .*/Version: 0.0.1-1/' "$work/DEBIAN/control"
        dpkg-deb --root-owner-group -Znone --build "$work" "$1/$(basename "$package")" >/dev/null
        rm -rf "$work"
    done
}
