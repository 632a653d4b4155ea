#!/usr/bin/env bash
# shellcheck disable=SC2154 # who sources this sets images, version and work
# Runs the images of target/images by what this machine has: podman, docker, crun,
# runc, or plain namespaces and chroot. Always with a read-only root, as the
# image's user, without capabilities, on the network of the machine. Sourced, with
# `images` (the folder), `version` and `work` (a folder of its own) set.
#
#   runtime_find               sets RUNTIME, unless it is set; fails if nothing runs images here
#   runtime_load IMAGE         makes an image ready, from target/images
#   container_once NAME IMAGE MOUNT... -- ARGUMENT...    runs to its end
#   container_start NAME IMAGE MOUNT... -- ARGUMENT...   runs in the background
#   container_exec NAME COMMAND...     one more command in it, as its user
#   container_pid NAME         its first process, as the machine counts
#   container_stop NAME        sends SIGTERM, waits, and says how it ended
#
# A mount is FOLDER:PATH, or FOLDER:PATH:ro. Arguments take the place of the image's own.

# By name: the process that runs it, here.
declare -A started

# The first that runs an image to its end. One that is here may be kept from it:
# in a container, or by a user without rights.
runtime_find() {
    local candidate
    for candidate in ${RUNTIME:-podman docker crun runc namespaces}; do
        RUNTIME=$candidate
        is_here || continue
        if runtime_load alambic-agent && container_once probe alambic-agent -- --version >"$work/probe" 2>&1; then
            return
        fi
        say "$RUNTIME is here but runs no image: $(tail -1 "$work/probe")"
        [ "$RUNTIME" != namespaces ] || fail "so the image does not run"
    done
    return 1
}

is_here() {
    case $RUNTIME in
    podman | docker) "$RUNTIME" info >/dev/null 2>&1 ;;
    crun | runc) [ "$(id -u)" -eq 0 ] && command -v "$RUNTIME" >/dev/null ;;
    namespaces)
        [ "$(id -u)" -eq 0 ] && has_tools unshare nsenter setpriv chroot pgrep &&
            unshare --mount --pid --fork true 2>/dev/null
        ;;
    *) fail "RUNTIME is \"$RUNTIME\", expected podman, docker, crun, runc or namespaces" ;;
    esac
}

has_tools() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || return 1
    done
}

has_engine() { [ "$RUNTIME" = podman ] || [ "$RUNTIME" = docker ]; }

# The one that this machine runs, of the layout of a program.
manifest_of() {
    local layout=$images/$1 index architecture
    case $(dpkg --print-architecture) in
    armhf) architecture=arm ;;
    *) architecture=$(dpkg --print-architecture) ;;
    esac
    index=$(blob_in "$layout/index.json" 'index.v1+json')
    grep -o '{"mediaType":"[^"]*manifest.v1+json"[^}]*}' "$layout/blobs/sha256/$index" |
        sed -n "/\"architecture\":\"$architecture\"/"'s/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/p'
}
# Digests in a document of those with a media type.
blob_in() { grep -o "$2\",\"digest\":\"sha256:[0-9a-f]*" "$1" | sed 's/.*sha256://'; }

runtime_load() {
    local blobs=$images/$1/blobs/sha256 manifest layer
    manifest=$(manifest_of "$1")
    [ -n "$manifest" ] || fail "target/images has no image of $1 for this machine: make images"
    cp "$blobs/$(blob_in "$blobs/$manifest" 'config.v1+json')" "$work/$1.json"
    if has_engine; then
        "$RUNTIME" load -q -i "$images/$1-$version-$(dpkg --print-architecture).tar" >/dev/null
        return
    fi
    mkdir -p "$work/$1.root"
    while read -r layer; do
        tar -C "$work/$1.root" --same-owner --numeric-owner -xpzf "$blobs/$layer"
    done < <(blob_in "$blobs/$manifest" 'layer.v1.tar+gzip')
}
# A list of the image's configuration, as JSON.
image_list() { sed -n 's/.*"'"$2"'":\(\[[^]]*\]\).*/\1/p' "$work/$1.json"; }
image_text() { sed -n 's/.*"'"$2"'":"\([^"]*\)".*/\1/p' "$work/$1.json"; }

container_once() {
    local name=$1 status=0
    command_for "$@"
    "${command[@]}" || status=$?
    rm -rf "$work/$name.bundle"
    return "$status"
}

container_start() {
    local name=$1
    command_for "$@"
    "${command[@]}" >"$work/$name.log" 2>&1 &
    started[$name]=$!
}

# Sets `command` to what runs the image in the foreground.
command_for() {
    local name=$1 image=$2 mounts=()
    shift 2
    while [ "$1" != -- ]; do
        mounts+=("$1")
        shift
    done
    shift
    rm -rf "$work/$name.bundle"
    mkdir -p "$work/$name.bundle"
    case $RUNTIME in
    podman | docker)
        command=("$RUNTIME" run --rm --name "alambic-try-$$-$name" --read-only --cap-drop=ALL
            --security-opt=no-new-privileges --network=host)
        local mount
        for mount in "${mounts[@]}"; do
            command+=(-v "$mount")
        done
        command+=("$image:$version" "$@")
        ;;
    crun | runc)
        bundle "$name" "$image" "${mounts[*]}" "$@" >"$work/$name.bundle/config.json"
        command=("$RUNTIME" run --bundle "$work/$name.bundle" "alambic-try-$$-$name")
        ;;
    namespaces)
        command=(unshare --mount --pid --ipc --fork --kill-child --propagation private
            -- bash -euc "$ENTER" enter "$work/$image.root" "$(image_text "$image" User)"
            "$(image_text "$image" WorkingDir)" "${mounts[*]}")
        mapfile -t -O "${#command[@]}" command < <(image_list "$image" Env | words)
        command+=(--)
        mapfile -t -O "${#command[@]}" command < <(image_list "$image" Entrypoint | words)
        command+=("$@")
        ;;
    esac
}
# A list of JSON, a line each.
words() { tr -d '[]"' | tr ',' '\n'; }
json_list() {
    local one text=''
    for one in "$@"; do
        text+="${text:+,}\"$one\""
    done
    printf '%s' "$text"
}

# As little as a program of ours can do with.
# shellcheck disable=SC2016 # the shell inside expands it
readonly ENTER='
    root=$1 user=$2 folder=$3 mounts=$4
    shift 4
    mount --bind "$root" "$root"
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    for mount in $mounts; do
        IFS=: read -r from to how <<<"$mount"
        mkdir -p "$root$to"
        mount --bind "$from" "$root$to"
        [ -z "$how" ] || mount -o remount,bind,ro "$root$to"
    done
    mount -o remount,bind,ro "$root"
    environment=()
    while [ "$1" != -- ]; do
        environment+=("$1")
        shift
    done
    shift
    cd "$root$folder"
    exec setpriv --no-new-privs --inh-caps=-all env -i "${environment[@]}" \
        "$(command -v chroot)" --userspec="$user" --groups= "$root" "$@"
'

# The configuration that crun and runc read. $1 name, $2 image, $3 mounts, rest: arguments
bundle() {
    local image=$2 mount from to how user rest
    user=$(image_text "$image" User)
    rest=$(json_list "${@:4}")
    printf '{"ociVersion":"1.0.2","root":{"path":"%s","readonly":true},' "$work/$image.root"
    printf '"process":{"terminal":false,"noNewPrivileges":true,"user":{"uid":%s,"gid":%s},' "${user%:*}" "${user#*:}"
    printf '"env":%s,"cwd":"%s",' "$(image_list "$image" Env)" "$(image_text "$image" WorkingDir)"
    printf '"args":%s%s]},' "$(image_list "$image" Entrypoint | sed 's/]$//')" "${rest:+,$rest}"
    printf '"mounts":[{"destination":"/proc","type":"proc","source":"proc"},'
    printf '{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755","size=64k"]}'
    for mount in $3; do
        IFS=: read -r from to how <<<"$mount"
        printf ',{"destination":"%s","type":"bind","source":"%s","options":["bind","%s"]}' "$to" "$from" "${how:-rw}"
    done
    printf '],"linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"ipc"}]}}'
}

container_pid() {
    local full=alambic-try-$$-$1
    case $RUNTIME in
    podman | docker) "$RUNTIME" inspect --format '{{.State.Pid}}' "$full" ;;
    crun | runc) "$RUNTIME" state "$full" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' ;;
    namespaces) pgrep -P "${started[$1]}" ;;
    esac
}

container_exec() {
    local name=$1 full=alambic-try-$$-$1 pid
    shift
    case $RUNTIME in
    podman | docker | crun | runc) "$RUNTIME" exec "$full" "$@" ;;
    namespaces)
        pid=$(container_pid "$name")
        env -i PATH=/usr/bin "$(command -v nsenter)" --target "$pid" --mount --pid --ipc --root --wd \
            --setgid "$(awk '/^Gid:/ { print $2 }' "/proc/$pid/status")" \
            --setuid "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")" -- "$@"
        ;;
    esac
}

container_stop() {
    local full=alambic-try-$$-$1 status=0 pid
    [ -n "${started[$1]:-}" ] || return 0
    case $RUNTIME in
    podman | docker) "$RUNTIME" kill --signal TERM "$full" >/dev/null || true ;;
    *) ! pid=$(container_pid "$1") || kill -TERM "$pid" || true ;;
    esac
    wait "${started[$1]}" || status=$?
    unset "started[$1]"
    case $RUNTIME in crun | runc) "$RUNTIME" delete --force "$full" >/dev/null 2>&1 || true ;; esac
    return "$status"
}
