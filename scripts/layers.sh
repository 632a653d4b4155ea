#!/usr/bin/env bash
# Makes the layers of the container images for one architecture, into a folder:
# the libraries that both programs need, and each program. What scripts/images.sh
# makes images of.
# Usage: scripts/layers.sh ARCH FOLDER   (amd64, arm64, armhf)
# PROGRAMS names a folder of programs to pack; without it they are built, with
# OpenBLAS inside. The same programs and libraries give the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/dist.sh
. scripts/dist.sh

# Numbers that no system gives to a person or a service of its own.
readonly USER_ID=65532

# What a file of a layer is, whoever's umask made it and whenever.
readonly TAR=(tar --format=ustar --sort=name --numeric-owner)
reproducible() { "${TAR[@]}" --mtime="@$SOURCE_DATE_EPOCH" "$@"; }

needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
loader_of() { readelf -l "$1" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p'; }

# Where this system has a library of the architecture.
library() {
    local folder
    for folder in "/usr/lib/$gnu" "/lib/$gnu" "/lib"; do
        if [ -e "$folder/$1" ]; then
            printf '%s\n' "$folder/$1"
            return
        fi
    done
    fail "$1, which the programs need, is not on this system for $arch"
}

# Everything that a file needs, and what that needs, into a list without twins.
gather() {
    local name
    for name in $(needed "$1"); do
        [ -z "${gathered[$name]:-}" ] || continue
        gathered[$name]=$(library "$name")
        gather "${gathered[$name]}"
    done
}

# The licence of what a file comes from, from the package that brought it.
licence() {
    local path owner
    path=$(readlink -f "$1")
    # The database knows what is below /usr/lib also as /lib.
    owner=$(dpkg-query -S "$path" 2>/dev/null || dpkg-query -S "${path#/usr}" 2>/dev/null) ||
        fail "no package owns $path, so its licence is not known"
    owner=${owner%%:*}
    install -D -m 0644 "/usr/share/doc/$owner/copyright" "$base/usr/share/doc/$owner/copyright"
}

# $1 folder, $2 layer
pack() {
    (cd "$1" && reproducible --owner=0 --group=0 --mode='u=rwX,go=rX' -cf "$out/$2.tar" -- *)
}
compress() {
    sha256sum <"$out/$1.tar" | cut -d' ' -f1 >"$out/$1.diff-id"
    gzip -9n <"$out/$1.tar" >"$out/$1.tar.gz"
    rm "$out/$1.tar"
}

# The libraries, and what programs look a user and a host's name up in.
base_layer() {
    local name loader referred
    base=$work/base
    loader=$(loader_of "$bin/alambic-agent")
    install -D -m 0755 "$loader" "$base$loader"
    licence "$loader"
    for name in "${!gathered[@]}"; do
        [ "$name" != "$(basename "$loader")" ] || continue
        install -D -m 0644 "${gathered[$name]}" "$base/usr/lib/$gnu/$name"
        licence "${gathered[$name]}"
    done
    # What is inside the programs has licences too.
    for name in ${inside:-}; do
        licence "$name"
    done
    for referred in Apache-2.0 GPL-2 GPL-3 LGPL-2.1; do
        name=/usr/share/common-licenses/$referred
        install -D -m 0644 "$name" "$base$name"
    done
    mkdir -p "$base"/{dev,etc,proc,run,sys}
    printf 'root:x:0:0:root:/:/nonexistent\nalambic:x:%d:%d:Alambic:/:/nonexistent\n' \
        "$USER_ID" "$USER_ID" >"$base/etc/passwd"
    printf 'root:x:0:\nalambic:x:%d:\n' "$USER_ID" >"$base/etc/group"
    printf 'hosts: files dns\n' >"$base/etc/nsswitch.conf"
    pack "$base" base
    compress base
}

# The program, its licence, and the directories that are its user's alone. $1
# program, rest: directories. A volume that is mounted there gets their owner.
program_layer() {
    local name=$1 root=$work/$1
    shift
    install -D -m 0755 "$bin/$name" "$root/usr/bin/$name"
    # Not every profile leaves the symbols out.
    "${CROSS_GNU:+$CROSS_GNU-}strip" "$root/usr/bin/$name"
    install -D -m 0644 packaging/copyright "$root/usr/share/doc/$name/copyright"
    mkdir -p "$root/etc/alambic" "${@/#/$root/}"
    rmdir "${@/#/$root/}"
    pack "$root" "$name"
    mkdir "${@/#/$root/}"
    reproducible --owner="$USER_ID" --group="$USER_ID" --mode=0700 \
        -C "$root" -rf "$out/$name.tar" "$@"
    compress "$name"
}

[ $# -eq 2 ] || fail "usage: scripts/layers.sh ARCH FOLDER"
arch=$1
if [ "$arch" != "$(dpkg --print-architecture)" ] && ! cross_is_here "$arch"; then
    [ -z "${PROGRAMS:-}" ] || fail "this system lacks the libraries that programs for $arch need"
    exec scripts/cross-root.sh "$arch" scripts/layers.sh "$arch" "$2"
fi
need gcc readelf "${CROSS_GNU:+$CROSS_GNU-}strip" tar gzip sha256sum dpkg-query
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
mkdir -p "$2"
out=$(cd "$2" && pwd)
if [ -n "${PROGRAMS:-}" ]; then
    bin=$PROGRAMS
    dist_places "$arch"
else
    dist_build "$arch" static
    bin=$DIST_BIN
    inside=$(readlink -f "$PKG_CONFIG_PATH"/lib*.a)
fi
gnu=${CROSS_GNU:-$(gcc -print-multiarch)}
declare -A gathered=()
for program in alambic-coordinator alambic-agent; do
    [ -x "$bin/$program" ] || fail "there is no $bin/$program"
    gather "$bin/$program"
done
base_layer
program_layer alambic-coordinator var/lib/alambic-coordinator var/backups/alambic-coordinator
program_layer alambic-agent var/lib/alambic-agent
