#!/usr/bin/env bash
# Makes container images of both programs, into target/images: of each an OCI
# layout with one image for every architecture, and for each architecture an
# archive that `docker load` and `podman load` read. It takes no daemon and no
# rights (other architectures: see scripts/cross-root.sh), and the same programs
# and libraries give the same bytes.
# Usage: scripts/images.sh [ARCH...]     (amd64, arm64, armhf; default: this machine's)
#
# Architectures that were made before of the same commit stay in the index.
# PROGRAMS names a folder of programs to pack instead of building them, IMAGES
# another folder than target/images.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/dist.sh
. scripts/dist.sh

# Most that an image may weigh as it is transferred.
readonly IMAGE_MB_MAX=40
readonly USER_ID=65532
readonly OCI=application/vnd.oci.image

# Adds a file to the blobs of a layout, and says how others refer to it.
# $1 layout, $2 file, $3 media type, $4 further members of the descriptor
blob() {
    local digest
    digest=$(sha256sum <"$2" | cut -d' ' -f1)
    cp "$2" "$1/blobs/sha256/$digest"
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%d%s}' \
        "$3" "$digest" "$(stat -c %s "$2")" "${4:-}"
}

# A fresh layout of a program's images.
new_layout() {
    rm -rf "$1"
    mkdir -p "$1/blobs/sha256"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
}

# Debian's name of an architecture as OCI says it.
platform() {
    case $1 in
    amd64) printf '"architecture":"amd64","os":"linux"' ;;
    arm64) printf '"architecture":"arm64","os":"linux","variant":"v8"' ;;
    armhf) printf '"architecture":"arm","os":"linux","variant":"v7"' ;;
    *) fail "ARCH is \"$1\", expected amd64, arm64 or armhf" ;;
    esac
}

# What an image runs, and as whom. $1 program, $2 architecture
config_of() {
    local name=$1 layers=$images/layers/$2 title ports environment command
    case $name in
    alambic-coordinator)
        title="Alambic coordinator"
        ports='"4433/udp":{},"4480/tcp":{}'
        environment='"OPENBLAS_NUM_THREADS=1"'
        command=serve
        ;;
    alambic-agent)
        title="Alambic agent"
        ports=
        # One thread computes; more arenas would only hold memory.
        environment='"OPENBLAS_NUM_THREADS=1","MALLOC_ARENA_MAX=1"'
        command=run
        ;;
    esac
    printf '{"created":"%s",%s,' "$created" "$(platform "$2")"
    printf '"config":{"User":"%d:%d",' "$USER_ID" "$USER_ID"
    [ -z "$ports" ] || printf '"ExposedPorts":{%s},' "$ports"
    printf '"Env":["PATH=/usr/bin",%s],' "$environment"
    printf '"Entrypoint":["/usr/bin/%s"],"Cmd":["%s"],' "$name" "$command"
    printf '"Volumes":{"/var/lib/%s":{}},"WorkingDir":"/var/lib/%s","StopSignal":"SIGTERM",' "$name" "$name"
    printf '"Labels":{%s}},' "$(annotations "$title" "$(tr '\n' ' ' <"packaging/$name/description")")"
    printf '"rootfs":{"type":"layers","diff_ids":["sha256:%s","sha256:%s"]},' \
        "$(cat "$layers/base.diff-id")" "$(cat "$layers/$name.diff-id")"
    printf '"history":[{"created":"%s","comment":"libraries of Debian and their licences"},' "$created"
    printf '{"created":"%s","comment":"%s %s"}]}' "$created" "$name" "$version"
}

# $1 title, $2 description
annotations() {
    local key=org.opencontainers.image
    printf '"%s.title":"%s","%s.description":"%s",' "$key" "$1" "$key" "${2% }"
    printf '"%s.version":"%s","%s.revision":"%s","%s.created":"%s",' \
        "$key" "$version" "$key" "$revision" "$key" "$created"
    printf '"%s.licenses":"Apache-2.0","%s.source":"%s"' "$key" "$key" "$repository"
}

# One image into a layout; prints its descriptor. $1 program, $2 architecture, $3 layout
image() {
    local name=$1 layers=$images/layers/$2 config base program weight=0 part
    config_of "$name" "$2" >"$work/config"
    config=$(blob "$3" "$work/config" "$OCI.config.v1+json")
    base=$(blob "$3" "$layers/base.tar.gz" "$OCI.layer.v1.tar+gzip")
    program=$(blob "$3" "$layers/$name.tar.gz" "$OCI.layer.v1.tar+gzip")
    printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s,%s]}' \
        "$OCI.manifest.v1+json" "$config" "$base" "$program" >"$work/manifest"
    for part in "$work/config" "$work/manifest" "$layers/base.tar.gz" "$layers/$name.tar.gz"; do
        weight=$((weight + $(stat -c %s "$part")))
    done
    [ "$weight" -le $((IMAGE_MB_MAX * 1000 * 1000)) ] ||
        fail "the image of $name for $2 has $weight bytes, more than $IMAGE_MB_MAX MB"
    say "$name for $2: $((weight / 1000)) kB to transfer," \
        "$(($(gzip -dc "$layers/base.tar.gz" "$layers/$name.tar.gz" | wc -c) / 1000)) kB on disk" >&2
    blob "$3" "$work/manifest" "$OCI.manifest.v1+json" ",\"platform\":{$(platform "$2")}"
}

# What `docker load` reads, in its own form and in that of OCI.
# $1 program, $2 architecture
archive() {
    local folder=$work/archive file=$images/$1-$version-$2.tar
    local -a digests
    new_layout "$folder"
    image "$1" "$2" "$folder" >"$work/descriptor" 2>/dev/null
    # Of the configuration and the two layers.
    mapfile -t digests < <(grep -o '"digest":"sha256:[0-9a-f]*"' "$work/manifest" | cut -d: -f3 | tr -d '"')
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' "$OCI.index.v1+json" \
        "$(named "$(cat "$work/descriptor")" "$1")" >"$folder/index.json"
    printf '[{"Config":"blobs/sha256/%s","RepoTags":["%s:%s"],"Layers":["blobs/sha256/%s","blobs/sha256/%s"]}]' \
        "${digests[0]}" "$1" "$version" "${digests[1]}" "${digests[2]}" >"$folder/manifest.json"
    (cd "$folder" && tar --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
        --numeric-owner --mode='u=rwX,go=rX' -cf - -- *) >"$file"
    rm -rf "$folder"
    say "$file"
}

# A descriptor with the names that tools look an image up by. $1 descriptor, $2 program
named() {
    printf '%s,"annotations":{"io.containerd.image.name":"docker.io/library/%s:%s",' "${1%\}}" "$2" "$version"
    printf '"org.opencontainers.image.ref.name":"%s"}}' "$version"
}

# Of one program: every architecture that there are layers of.
program() {
    local name=$1 layout=$images/$1 arch descriptors=''
    new_layout "$layout"
    for arch in "${ready[@]}"; do
        descriptors+=${descriptors:+,}$(image "$name" "$arch" "$layout")
        archive "$name" "$arch"
    done
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' "$OCI.index.v1+json" "$descriptors" >"$work/index"
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' "$OCI.index.v1+json" \
        "$(named "$(blob "$layout" "$work/index" "$OCI.index.v1+json")" "$name")" >"$layout/index.json"
    say "$layout: $name $version for ${ready[*]}"
}

need tar gzip sha256sum
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)}
repository=$(sed -n 's/^repository = "\(.*\)"/\1/p' Cargo.toml | head -1)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
images=${IMAGES:-${CARGO_TARGET_DIR:-target}/images}
mkdir -p "$images"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ $# -gt 0 ] || set -- "$(dpkg --print-architecture)"
for arch in "$@"; do
    platform "$arch" >/dev/null
    rm -rf "$images/layers/$arch"
    scripts/layers.sh "$arch" "$images/layers/$arch"
    printf '%s\n' "$revision" >"$images/layers/$arch/revision"
done
ready=()
for arch in amd64 arm64 armhf; do
    [ -f "$images/layers/$arch/revision" ] || continue
    if [ "$(cat "$images/layers/$arch/revision")" = "$revision" ]; then
        ready+=("$arch")
    else
        say "the layers for $arch are of another commit and are left out"
    fi
done
program alambic-coordinator
program alambic-agent
