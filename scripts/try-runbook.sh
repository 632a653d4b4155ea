#!/usr/bin/env bash
# Types the runbook, docs/operations.md, from beginning to end as root would:
# four clean Debian 12 machines (a server, two devices, and the server that
# takes the first one's place), each with its own systemd, on one network of
# their own. Needs root, the packages of `make deb`, debootstrap and
# systemd-nspawn; some minutes.
#
# BASE_ROOT names the tarball of a fresh Debian 12 root, to skip the first step.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

arch=$(dpkg --print-architecture)
packages=${CARGO_TARGET_DIR:-target}/packages
network=alambic-$$
declare -A leader container

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'try-runbook: FAILED: %s\n' "$*" >&2
    exit 1
}

# Runs a command on a machine, as root in its home.
on() {
    local machine=$1
    shift
    nsenter --target "${leader[$machine]}" --mount --uts --ipc --net --pid --root \
        env --chdir=/root HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}

# shellcheck disable=SC2317 # called by the trap
tidy() {
    local status=$? machine
    for machine in "${!leader[@]}"; do
        [ "$status" -eq 0 ] || on "$machine" journalctl --no-pager -n 25 -u 'alambic-*' || true
        lose "$machine"
    done
    ip netns delete "$network" 2>/dev/null || true
    ! mountpoint -q "$home/base/proc" || umount "$home/base/proc"
    rm -rf "$home"
}

# A machine that has never seen us.
boot() {
    local machine=$1
    mkdir "$home/$machine" "$home/$machine.own" "$home/$machine.work"
    mount -t overlay overlay "$home/$machine" \
        -o "lowerdir=$home/base,upperdir=$home/$machine.own,workdir=$home/$machine.work"
    systemd-nspawn --quiet --directory="$home/$machine" --machine="$machine-$$" --boot --register=no \
        --keep-unit --network-namespace-path="/run/netns/$network" </dev/null >"$home/$machine.log" 2>&1 &
    container[$machine]=$!
    until_so pgrep -P "${container[$machine]}"
    leader[$machine]=$(pgrep -P "${container[$machine]}")
    until_so on "$machine" systemctl is-system-running
}

# Pulls its plug.
lose() {
    kill -KILL "${leader[$1]}" 2>/dev/null || true
    wait "${container[$1]}" 2>/dev/null || true
    umount "$home/$1" 2>/dev/null || true
    unset "leader[$1]" "container[$1]"
}

# Waits for at most a minute until a command succeeds.
until_so() {
    local tries
    for tries in $(seq 120); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.5
    done
    fail "after $tries tries: $*"
}

install_on() {
    on "$1" sh -c "apt-get install -q -y --no-install-recommends /packages/$2/$3_*.deb" >"$home/apt.log" 2>&1 ||
        { tail -20 "$home/apt.log"; fail "$3 does not install on $1"; }
}

field() { sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p' | head -1; }
status() { on "$server" alambic-coordinator status --json; }
connected() { [ "$(status | grep -o '"connected": *true' | wc -l)" = "$1" ]; }
version_on() { on "$1" alambic-agent student current --json | field version; }
# All devices use the newest student.
all_follow() {
    local newest machine
    newest=$(on "$server" alambic-coordinator model list --json | field version)
    for machine in "$@"; do
        [ "$(version_on "$machine")" = "$newest" ] || return 1
    done
}
newer_than() { [ "$(version_on "$1")" != "$2" ]; }
is_revoked() { on "$server" alambic-coordinator device show "$1" --json | grep -q '"revoked": *true'; }

# Three classes on a circle, from a generator that is the same everywhere.
rows() {
    awk -v seed="$1" 'BEGIN {
        print "a,b,c,d,label"
        for (row = 0; row < 120; row++) {
            line = ""
            for (at = 0; at < 4; at++) {
                seed = (seed * 16807) % 2147483647
                line = line sprintf("%.4f,", 2 * cos(row % 3 * 2.1 + at) + seed / 2147483647 - 0.5)
            }
            print line "class" row % 3
        }
    }'
}

make_base() {
    local package work
    if [ -n "${BASE_ROOT:-}" ]; then
        tar -C "$home/base" -xf "$BASE_ROOT"
    else
        debootstrap --variant=minbase bookworm "$home/base" >/dev/null
    fi
    mkdir -p "$home/base/packages/old" "$home/base/packages/new"
    cp "${debs[@]}" "$home/base/packages/new/"
    for package in "${debs[@]}"; do
        work=$(mktemp -d)
        dpkg-deb -R "$package" "$work"
        sed -i 's/^Version: .*/Version: 0.0.1-1/' "$work/DEBIAN/control"
        dpkg-deb --root-owner-group -Znone --build "$work" "$home/base/packages/old/$(basename "$package")" >/dev/null
        rm -rf "$work"
    done
    mount -t proc proc "$home/base/proc"
    # The machines have no network: what the packages stand on comes before.
    chroot "$home/base" sh -c 'export DEBIAN_FRONTEND=noninteractive && apt-get update -q &&
        apt-get install -q -y --no-install-recommends systemd-sysv dbus curl b3sum &&
        apt-get install -q -y --no-install-recommends --download-only /packages/new/*.deb' >"$home/apt.log" 2>&1 ||
        { tail -20 "$home/apt.log"; fail "what the packages stand on cannot be had"; }
    umount "$home/base/proc"
    : >"$home/base/etc/machine-id"
    mkdir -p "$home/base/srv/windows"
}

[ "$(id -u)" -eq 0 ] || fail "run it as root"
for tool in debootstrap systemd-nspawn nsenter ip; do
    command -v "$tool" >/dev/null ||
        fail "$tool is missing: apt-get install debootstrap systemd-container util-linux iproute2"
done
shopt -s nullglob
debs=("$packages"/alambic-*_"$arch".deb)
[ ${#debs[@]} -eq 2 ] || fail "there should be two packages for $arch in $packages: make deb"
home=$(mktemp -d /tmp/alambic-runbook.XXXXXX)
mkdir "$home/base"
trap tidy EXIT

say "a clean Debian 12, three times"
make_base
ip netns add "$network"
ip -n "$network" link set lo up
server=server
for machine in server one two; do
    boot "$machine"
done

say "First fleet"
install_on server old alambic-coordinator
on server alambic-coordinator init
on server systemctl enable --now alambic-coordinator
until_so status
on server alambic-coordinator doctor
cat >"$home/server/root/task.toml" <<'TASK'
name = "circle"
[input]
shape = [4]
[classes]
names = ["class0", "class1", "class2"]
[student]
hidden = [8]
[budget]
points_per_device = 6
points_max = 12
rank_max = 8
cluster_size_min = 2
[distillation]
steps = 200
batch = 16
[rounds]
devices_min = 2
TASK
on server alambic-coordinator task create task.toml
token=$(on server alambic-coordinator token create --uses 10 --json | field token)
seed=0
for machine in one two; do
    install_on "$machine" old alambic-agent
    seed=$((seed + 1))
    rows "$seed" >"$home/$machine/srv/windows/rows.csv"
    on "$machine" alambic-agent enrol --coordinator 127.0.0.1:4433 --token "$token"
    sed -i 's|^#folder = .*|folder = "/srv/windows"|' "$home/$machine/etc/alambic/agent.toml"
    on "$machine" systemctl enable --now alambic-agent
done
until_so connected 2
on server alambic-coordinator round start --watch
until_so all_follow one two
mkdir -p "$home/safe" "$home/server/media/safe"
on server alambic-coordinator key offline --out /media/safe/root.pem
on one alambic-agent doctor

say "Upgrade: coordinator first, devices when they can"
install_on server new alambic-coordinator
until_so connected 2
on server alambic-coordinator round start --watch
for machine in one two; do
    install_on "$machine" new alambic-agent
done
until_so connected 2
on server alambic-coordinator round start --watch
until_so all_follow one two

say "A release key is stolen"
before=$(version_on one)
on server alambic-coordinator key rotate --revoke --root-key /media/safe/root.pem
on server systemctl restart alambic-coordinator
until_so newer_than one "$before"
until_so all_follow one two
on server alambic-coordinator key show

say "A new certificate authority"
on server alambic-coordinator ca rotate
on server systemctl restart alambic-coordinator
until_so connected 2
on server alambic-coordinator ca show
! on server alambic-coordinator ca retire || fail "an authority was retired that devices stand on"

say "A student that may be bad"
on server alambic-coordinator rollout status
on server alambic-coordinator rollout rollback
until_so all_follow one two

say "The server is lost"
mkdir -p "$home/server/backup"
on server alambic-coordinator backup --out /backup/alambic.tar
on server alambic-coordinator restore --from /backup/alambic.tar --verify
on server sh -c 'mkdir look && tar -C look -xf /backup/alambic.tar && cd look && b3sum --check manifest.b3' >/dev/null
cp "$home/server/backup/alambic.tar" "$home/server/media/safe/root.pem" "$home/safe/"

say "A device is lost: after the backup, so it has to be revoked again"
stolen=$(on two alambic-agent status --json | field device)
on server alambic-coordinator device revoke "$stolen" --reason stolen
until_so connected 1
is_revoked "$stolen" || fail "the device is not revoked"

lose server
server=successor
boot successor
install_on successor new alambic-coordinator
cp "$home/safe/alambic.tar" "$home/successor/root/"
on successor systemctl stop alambic-coordinator
on successor alambic-coordinator restore --from alambic.tar --state /var/lib/alambic-coordinator --verify
on successor systemctl enable --now alambic-coordinator
until_so connected 2
on successor alambic-coordinator status
! is_revoked "$stolen" || fail "a device was revoked by a backup from before"
on successor alambic-coordinator device revoke "$stolen" --reason stolen
until_so connected 1
on successor alambic-coordinator audit verify

say "The page, the metrics and the alerts"
on successor curl -sf http://127.0.0.1:4480/ >"$home/page"
grep -q 'id="content"' "$home/page" || fail "there is no page"
on successor curl -sf http://127.0.0.1:4480/metrics >"$home/metrics"
grep -q '^alambic_devices{' "$home/metrics" || fail "there are no metrics"
sed -n 's/^ *- alert: *//p' configs/prometheus-*.yml | while read -r alert; do
    grep -q "^| \`$alert\` |" docs/operations.md || fail "the runbook says nothing of $alert"
done

say "the runbook holds"
