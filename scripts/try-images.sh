#!/usr/bin/env bash
# Tries the images of target/images as an operator would: a coordinator and two
# agents, each with a read-only root, as a user without rights, and one volume for
# its state. A token, two devices, a round, a restart; then all of it is gone.
# Skips, and says so, where nothing can run images.
#
# RUNTIME names what runs them (podman, docker, crun, runc, namespaces), IMAGES
# another folder than target/images.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/messages.sh
. scripts/messages.sh
# shellcheck source=scripts/containers.sh
. scripts/containers.sh
# shellcheck source=scripts/fleet.sh
. scripts/fleet.sh
# shellcheck source=scripts/runtimes.sh
. scripts/runtimes.sh

readonly DEVICES=(one two)

# shellcheck disable=SC2317 # called by the trap
tidy() {
    local status=$? name
    for name in "${!started[@]}"; do
        [ "$status" -eq 0 ] || { printf 'what "%s" said last:\n' "$name" && tail -20 "$work/$name.log"; } >&2
        container_stop "$name" || true
    done
    if has_engine; then
        "$RUNTIME" volume rm -f "${volumes[@]}" >/dev/null 2>&1 || true
    fi
    rm -rf "$work"
}

# A volume for a state directory, by the name that mounts take.
volume() {
    local name=alambic-try-$$-$1
    if has_engine; then
        "$RUNTIME" volume create "$name" >/dev/null
    else
        name=$work/$1.volume
        mkdir -m 0700 "$name"
        chown "$(image_text alambic-agent User)" "$name"
    fi
    volumes[$1]=$name
}

operate() { container_exec server /usr/bin/alambic-coordinator "$@"; }
status() { operate status --json; }
connected() { [ "$(status | count_connected)" = ${#DEVICES[@]} ]; }
on_device() { container_exec "$1" /usr/bin/alambic-agent "${@:2}"; }
has_student() { [ "$(on_device "$1" student current --json | field version)" = "$2" ]; }
start_server() {
    container_start server alambic-coordinator "${volumes[server]}:/var/lib/alambic-coordinator" \
        "$work/etc:/etc/alambic:ro" -- serve
    until_so status
}
start_device() {
    container_start "$1" alambic-agent "${volumes[$1]}:/var/lib/alambic-agent" "$work/$1:/srv/data:ro" -- \
        run --data /srv/data
}

# What the machine says of a container's first process.
is_confined() {
    local pid
    pid=$(container_pid "$1")
    grep -qE '^CapEff:\s0+$' "/proc/$pid/status" || fail "$1 has capabilities"
    grep -qE '^NoNewPrivs:\s1$' "/proc/$pid/status" || fail "$1 may gain rights"
    ! grep -qE '^Uid:\s.*\s0\s' "/proc/$pid/status" || fail "$1 runs as root"
    awk '$5 == "/" && $6 ~ /(^|,)ro(,|$)/ { found = 1 } END { exit !found }' "/proc/$pid/mountinfo" ||
        fail "the root of $1 can be written"
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
images=${IMAGES:-${CARGO_TARGET_DIR:-target}/images}
[ -f "$images/alambic-agent/index.json" ] || fail "there are no images in $images: make images"
images=$(cd "$images" && pwd)
work=$(mktemp -d)
chmod 0755 "$work"
declare -A volumes=()
trap tidy EXIT
if ! runtime_find; then
    say "SKIPPED: neither podman, docker, crun nor runc runs images here, nor may this user make namespaces"
    exit 0
fi

step "the images, by $RUNTIME"
for image in alambic-coordinator alambic-agent; do
    runtime_load "$image"
    container_once version "$image" -- --version
done
for name in server "${DEVICES[@]}"; do
    volume "$name"
done
mkdir -m 0755 "$work/etc" "${DEVICES[@]/#/$work/}"
printf 'listen = "127.0.0.1:0"\n[page]\nlisten = "127.0.0.1:0"\n' >"$work/etc/coordinator.toml"
circle_task images >"$work/etc/task.toml"

step "a coordinator"
for _ in 1 2; do
    container_once init alambic-coordinator "${volumes[server]}:/var/lib/alambic-coordinator" \
        "$work/etc:/etc/alambic:ro" -- init --if-missing
done
start_server
is_confined server
operate doctor
operate task create /etc/alambic/task.toml
address=$(status | field address)
token=$(operate token create --uses ${#DEVICES[@]} --json | field token)

step "two agents"
seed=0
for device in "${DEVICES[@]}"; do
    seed=$((seed + 1))
    circle_rows "$seed" 120 >"$work/$device/rows.csv"
    container_once enrol alambic-agent "${volumes[$device]}:/var/lib/alambic-agent" -- \
        enrol --coordinator "$address" --token "$token"
    start_device "$device"
done
until_so connected
for device in "${DEVICES[@]}"; do
    is_confined "$device"
    on_device "$device" doctor
done

step "a round"
operate round start --watch
newest=$(operate model list --json | field version)
for device in "${DEVICES[@]}"; do
    until_so has_student "$device" "$newest"
done

step "stop and start: the volumes hold everything"
# The devices find the address that the system chose, so it is named now.
sed -i "s/^listen = \"127.0.0.1:0\"/listen = \"$address\"/;t" "$work/etc/coordinator.toml"
container_stop server || fail "the coordinator did not end well on SIGTERM"
container_stop one || fail "the agent did not end well on SIGTERM"
start_server
start_device one
until_so connected
operate status
for device in "${DEVICES[@]}"; do
    has_student "$device" "$newest" || fail "$device has lost its student"
done

step "all of it works"
