#!/usr/bin/env bash
# Tries the packages and archives of target/packages in a clean Debian 12, as
# an operator would: unpack and run the archives as an ordinary user, install
# the packages, start both services under systemd, let an agent join, reload,
# kill and freeze them, upgrade, remove, purge.
# Needs root, debootstrap and systemd-nspawn; some minutes.
#
# BASE_ROOT names the tarball of a fresh Debian 12 root, to skip the first step.
# OLD_PACKAGES names a folder with earlier packages to upgrade from; without it
# these ones are installed first under an older number.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

arch=$(dpkg --print-architecture)
packages=${CARGO_TARGET_DIR:-target}/packages
leader=
container=
logs=

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'try-packages: FAILED: %s\n' "$*" >&2
    exit 1
}

# Runs a command in the root: as it lies there, or as it runs.
inside() {
    local -a settings=(env --chdir=/ DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8)
    if [ -n "$leader" ]; then
        nsenter --target "$leader" --mount --uts --ipc --net --pid --root "${settings[@]}" "$@"
    else
        chroot "$root" "${settings[@]}" "$@"
    fi
}
as() {
    local user=$1
    shift
    inside runuser -u "$user" -- "$@"
}

# shellcheck disable=SC2317 # called by the trap
tidy() {
    local status=$?
    if [ "$status" -ne 0 ] && [ -n "$leader" ]; then
        inside journalctl --no-pager -n 40 -u 'alambic-*' || true
    fi
    shut_down
    ! mountpoint -q "$root/proc" || umount "$root/proc"
    rm -rf "$root" "$logs"
}

# Starts the root's own systemd, with a network of its own.
boot() {
    umount "$root/proc"
    : >"$root/etc/machine-id"
    systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit \
        --private-network </dev/null >"$logs/boot" 2>&1 &
    container=$!
    until_so pgrep -P "$container"
    leader=$(pgrep -P "$container")
    until_so inside systemctl is-system-running
}
shut_down() {
    [ -n "$container" ] || return 0
    inside systemctl poweroff >/dev/null 2>&1 || kill "$container" 2>/dev/null || true
    wait "$container" 2>/dev/null || true
    leader='' container=''
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

coordinator() { as alambic-coordinator alambic-coordinator "$@"; }
connected() { coordinator status --json | grep -q '"connected": *true'; }
has_joined() { [ -s "$root/var/lib/alambic-agent/membership.json" ]; }
pid_of() { inside systemctl show --property=MainPID --value "$1"; }
is_active() { inside systemctl is-active --quiet "$1"; }
is_another() { is_active "$1" && [ "$(pid_of "$1")" != 0 ] && [ "$(pid_of "$1")" != "$2" ]; }
# By systemd itself, and not by us.
restarts() { inside systemctl show --property=NRestarts --value "$1"; }
was_restarted() { is_another "$1" "$2" && [ "$(restarts "$1")" -ge 1 ]; }

install_all() {
    inside sh -c "apt-get install -q -y --no-install-recommends $1/*.deb" >"$logs/apt" 2>&1 ||
        { tail -20 "$logs/apt"; fail "the packages of $1 do not install"; }
}

# The archives where OpenBLAS is not: a user without rights joins a fleet.
try_archives() {
    local archive folder program home=/home/somebody address token
    if [ ${#archives[@]} -eq 0 ]; then
        say "SKIPPED: there are no archives (make tarball)"
        return
    fi
    say "the archives, as an ordinary user where OpenBLAS is not installed"
    ! inside ldconfig -p | grep -E 'openblas|gfortran' || fail "OpenBLAS is in the clean root"
    inside useradd -m somebody
    for archive in "${archives[@]}"; do
        inside mkdir -p "$home"
        tar -C "$root$home" --no-same-owner -xf "$archive"
        folder=$(basename "$archive" .tar.xz)
        program=${folder%%-[0-9]*}
        mv "$root$home/$folder" "$root$home/$program"
        as somebody "$home/$program/$program" --version
    done
    inside chown -R somebody: "$home"
    local server=$home/alambic-coordinator/alambic-coordinator device=$home/alambic-agent/alambic-agent
    as somebody "$server" init --state "$home/state" >/dev/null
    inside systemd-run --quiet --uid=somebody --unit=try-server \
        "$server" serve --state "$home/state" --listen 127.0.0.1:0
    until_so as somebody "$server" status --state "$home/state"
    address=$(as somebody "$server" status --state "$home/state" --json | field address)
    token=$(as somebody "$server" token create --state "$home/state" --json | field token)
    as somebody "$device" enrol --state "$home/agent" --coordinator "$address" --token "$token"
    inside systemd-run --quiet --uid=somebody --unit=try-device "$device" run --state "$home/agent"
    until_so sh_connected "$server" "$home/state"
    say "an ordinary user's agent is connected"
    inside systemctl stop try-device try-server
    inside userdel -r somebody 2>/dev/null
}
sh_connected() { as somebody "$1" status --state "$2" --json | grep -q '"connected": *true'; }
field() { sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p' | head -1; }

[ "$(id -u)" -eq 0 ] || fail "run it as root"
for tool in debootstrap systemd-nspawn nsenter; do
    command -v "$tool" >/dev/null ||
        fail "$tool is missing: apt-get install debootstrap systemd-container util-linux"
done
shopt -s nullglob
archives=("$packages"/alambic-*-"$arch".tar.xz)
debs=("$packages"/alambic-*_"$arch".deb)
[ ${#debs[@]} -eq 2 ] || fail "there should be two packages for $arch in $packages: make deb"
root=$(mktemp -d /tmp/alambic-root.XXXXXX)
logs=$(mktemp -d)
trap tidy EXIT

say "a clean Debian 12"
if [ -n "${BASE_ROOT:-}" ]; then
    tar -C "$root" -xf "$BASE_ROOT"
else
    debootstrap --variant=minbase bookworm "$root" >/dev/null
fi
mount -t proc proc "$root/proc"

say "an older version, for the upgrade"
mkdir "$root/old" "$root/new"
cp "${debs[@]}" "$root/new/"
if [ -n "${OLD_PACKAGES:-}" ]; then
    cp "$OLD_PACKAGES"/alambic-*_"$arch".deb "$root/old/"
else
    for package in "${debs[@]}"; do
        work=$(mktemp -d)
        dpkg-deb -R "$package" "$work"
        sed -i 's/^Version: .*/Version: 0.0.1-1/' "$work/DEBIAN/control"
        dpkg-deb --root-owner-group -Znone --build "$work" "$root/old/$(basename "$package")" >/dev/null
        rm -rf "$work"
    done
fi
# The container has no network: what the packages stand on comes before. A
# minimal root has no init, which every machine of the fleet has.
inside apt-get update -q >/dev/null
inside sh -c 'apt-get install -q -y --no-install-recommends systemd-sysv dbus &&
    apt-get install -q -y --no-install-recommends --download-only /old/*.deb' >"$logs/apt" 2>&1 ||
    { tail -20 "$logs/apt"; fail "what the packages stand on cannot be had"; }
boot
try_archives

say "install"
install_all /old
for user in alambic-agent alambic-coordinator; do
    inside id "$user"
    [ "$(inside stat -c %a:%U "/var/lib/$user")" = "700:$user" ] || fail "state of $user is open"
    [ -s "$root/usr/share/man/man1/$user.1.gz" ] || fail "no manual page of $user"
    [ -s "$root/usr/share/bash-completion/completions/$user" ] || fail "no completions of $user"
    inside "$user" --version
    inside systemctl is-enabled "$user.service"
    ! is_active "$user" || fail "$user runs before anyone set it up"
done

say "start both; the agent joins with a token"
sed -i 's/^listen = .*:4433"/listen = "127.0.0.1:4433"/' "$root/etc/alambic/coordinator.toml"
coordinator init >/dev/null
inside systemctl start alambic-coordinator
sed -i 's/^#address = .*/address = "127.0.0.1:4433"/' "$root/etc/alambic/agent.toml"
coordinator token create --json | field token | install -m 0600 /dev/stdin "$root/etc/alambic/join-token"
inside systemctl start alambic-agent
until_so has_joined
until_so connected
coordinator device list

say "the token may go; reload, a crash, a loop that stands still"
rm "$root/etc/alambic/join-token"
inside systemctl restart alambic-agent
until_so connected
for service in alambic-coordinator alambic-agent; do
    inside systemctl reload "$service"
    before=$(pid_of "$service")
    inside kill -KILL "$before"
    until_so is_another "$service" "$before"
    inside sh -c "mkdir -p /run/systemd/system/$service.service.d &&
        printf '[Service]\nWatchdogSec=3\nWatchdogSignal=SIGKILL\n' \
            >/run/systemd/system/$service.service.d/watchdog.conf && systemctl daemon-reload"
    inside systemctl restart "$service"
    before=$(pid_of "$service")
    inside kill -STOP "$before"
    until_so was_restarted "$service" "$before"
    printf '%s: restarted %s times\n' "$service" \
        "$(restarts "$service")"
done
until_so connected
inside systemctl enable --now alambic-agent-pull.timer
inside systemctl list-timers --no-pager alambic-agent-pull.timer | head -2

say "upgrade: state and configuration stay, the services are restarted"
identity=$(inside sha256sum /var/lib/alambic-coordinator/ca.pem /etc/alambic/coordinator.toml /etc/alambic/agent.toml)
before=$(pid_of alambic-coordinator)
install_all /new
is_another alambic-coordinator "$before" || fail "the coordinator was not restarted"
inside dpkg-query -W 'alambic-*'
[ "$(inside sha256sum /var/lib/alambic-coordinator/ca.pem /etc/alambic/coordinator.toml /etc/alambic/agent.toml)" = "$identity" ] ||
    fail "state or configuration has changed"
until_so connected
coordinator status
inside systemd-analyze security --no-pager alambic-agent.service alambic-coordinator.service | grep Overall || true

say "remove: data stay; purge: they go"
inside apt-get remove -q -y alambic-agent alambic-coordinator >"$logs/apt" 2>&1
! is_active alambic-coordinator || fail "the coordinator outlives its package"
[ -s "$root/var/lib/alambic-agent/membership.json" ] || fail "removal took the agent's data"
[ -s "$root/var/lib/alambic-coordinator/ca.pem" ] || fail "removal took the coordinator's data"
[ -s "$root/etc/alambic/agent.toml" ] || fail "removal took the configuration"
inside apt-get purge -q -y alambic-agent alambic-coordinator >"$logs/apt" 2>&1
for left in var/lib/alambic-agent var/lib/alambic-coordinator etc/alambic; do
    [ ! -e "$root/$left" ] || fail "purge left /$left"
done

say "all of it works"
