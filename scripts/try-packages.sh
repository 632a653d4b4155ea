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

# shellcheck source=scripts/messages.sh
. scripts/messages.sh
# shellcheck source=scripts/built.sh
. scripts/built.sh
# shellcheck source=scripts/containers.sh
. scripts/containers.sh
# shellcheck source=scripts/fleet.sh
. scripts/fleet.sh

inside() { on machine "$@"; }
as() {
    local user=$1
    shift
    inside runuser -u "$user" -- "$@"
}

# shellcheck disable=SC2317 # called by the trap
tidy() {
    local status=$?
    [ "$status" -eq 0 ] || inside journalctl --no-pager -n 40 -u 'alambic-*' || true
    power_off machine
    rm -rf "$root" "$logs"
}

coordinator() { as alambic-coordinator alambic-coordinator "$@"; }
connected() { [ "$(coordinator status --json | count_connected)" = 1 ]; }
has_joined() { [ -s "$root/var/lib/alambic-agent/membership.json" ]; }
pid_of() { inside systemctl show --property=MainPID --value "$1"; }
is_active() { inside systemctl is-active --quiet "$1"; }
is_another() { is_active "$1" && [ "$(pid_of "$1")" != 0 ] && [ "$(pid_of "$1")" != "$2" ]; }
# By systemd itself, and not by us.
restarts() { inside systemctl show --property=NRestarts --value "$1"; }
was_restarted() { is_another "$1" "$2" && [ "$(restarts "$1")" -ge 1 ]; }

install_all() {
    # Nobody is there to ask which of two changed configurations it shall be.
    inside sh -c "apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold $1/*.deb" \
        >"$logs/apt" 2>&1 ||
        { tail -20 "$logs/apt"; fail "the packages of $1 do not install (above)"; }
}

# The archives where OpenBLAS is not: a user without rights joins a fleet.
try_archives() {
    local archive folder program home=/home/somebody address token
    if [ ${#BUILT_ARCHIVES[@]} -eq 0 ]; then
        step "SKIPPED: there are no archives (make tarball)"
        return
    fi
    step "the archives, as an ordinary user where OpenBLAS is not installed"
    ! inside ldconfig -p | grep -E 'openblas|gfortran' || fail "OpenBLAS is in the clean root"
    inside useradd -m somebody
    for archive in "${BUILT_ARCHIVES[@]}"; do
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
    until_so archive_connected "$server" "$home/state"
    say "an ordinary user's agent is connected"
    inside systemctl stop try-device try-server
    inside userdel -r somebody 2>/dev/null
}
archive_connected() { [ "$(as somebody "$1" status --state "$2" --json | count_connected)" = 1 ]; }

containers_need unshare
built_find
root=$(mktemp -d /tmp/alambic-root.XXXXXX)
logs=$(mktemp -d)
trap tidy EXIT

step "a clean Debian 12"
debian_root "$root"

step "an older version, for the upgrade"
mkdir "$root/old" "$root/new"
cp "${BUILT_DEBS[@]}" "$root/new/"
if [ -n "${OLD_PACKAGES:-}" ]; then
    cp "$OLD_PACKAGES"/alambic-*_"$(dpkg --print-architecture)".deb "$root/old/"
else
    built_age "$root/old"
fi
# The container has no network: what the packages stand on comes before. A
# minimal root has no init, which every machine of the fleet has.
in_root "$root" sh -c 'apt-get update -q &&
    apt-get install -q -y --no-install-recommends systemd-sysv dbus &&
    apt-get install -q -y --no-install-recommends --download-only /old/*.deb &&
    apt-get install -q -y --no-install-recommends --download-only /new/*.deb' >"$logs/apt" 2>&1 ||
    { tail -20 "$logs/apt"; fail "what the packages stand on cannot be had (above)"; }
boot machine "$root" "$logs/boot" --private-network
try_archives

step "install"
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

step "start both; the agent joins with a token"
sed -i 's/^listen = .*:4433"/listen = "127.0.0.1:4433"/' "$root/etc/alambic/coordinator.toml"
coordinator init >/dev/null
inside systemctl start alambic-coordinator
sed -i 's/^#address = .*/address = "127.0.0.1:4433"/' "$root/etc/alambic/agent.toml"
coordinator token create --json | field token | install -m 0600 /dev/stdin "$root/etc/alambic/join-token"
inside systemctl start alambic-agent
until_so has_joined
until_so connected
coordinator device list

step "the token may go; reload, a crash, a loop that stands still"
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
inside systemctl list-timers --no-pager --no-legend alambic-agent-pull.timer

step "upgrade: state and configuration stay, the services are restarted"
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

step "remove: data stay; purge: they go"
inside apt-get remove -q -y alambic-agent alambic-coordinator >"$logs/apt" 2>&1
! is_active alambic-coordinator || fail "the coordinator outlives its package"
[ -s "$root/var/lib/alambic-agent/membership.json" ] || fail "removal took the agent's data"
[ -s "$root/var/lib/alambic-coordinator/ca.pem" ] || fail "removal took the coordinator's data"
[ -s "$root/etc/alambic/agent.toml" ] || fail "removal took the configuration"
inside apt-get purge -q -y alambic-agent alambic-coordinator >"$logs/apt" 2>&1
for left in var/lib/alambic-agent var/lib/alambic-coordinator etc/alambic; do
    [ ! -e "$root/$left" ] || fail "purge left /$left"
done

step "all of it works"
