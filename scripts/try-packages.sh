#!/usr/bin/env bash
# Tries the packages and archives of target/packages in a clean Debian 12, as
# an operator would: unpack and run the archives, install the packages, start
# both programs, let an agent join, upgrade, remove, purge. Needs root and
# debootstrap; some minutes. BASE_ROOT names the tarball of a fresh Debian 12
# root, to skip the first step.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=${CARGO_TARGET_DIR:-target}/packages
root=$(mktemp -d /tmp/alambic-root.XXXXXX)
programs=()

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'try-packages: FAILED: %s\n' "$*" >&2
    exit 1
}
inside() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
as() {
    local user=$1
    shift
    inside runuser -u "$user" -- "$@"
}

# shellcheck disable=SC2317 # called by the trap
tidy() {
    stop_programs
    ! mountpoint -q "$root/proc" || umount "$root/proc"
    rm -rf "$root"
}
stop_programs() {
    local pid
    for pid in "${programs[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    programs=()
}
trap tidy EXIT

# Waits for at most half a minute until a command succeeds.
until_so() {
    local tries
    for tries in $(seq 60); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.5
    done
    fail "after $tries tries: $*"
}

coordinator() { as alambic-coordinator alambic-coordinator "$@"; }
is_ready() { [ -S "$root/var/lib/alambic-coordinator/admin.sock" ] && coordinator status; }
connected() { coordinator status --json | grep -q '"connected": *1'; }
has_joined() { [ -s "$root/var/lib/alambic-agent/membership.json" ]; }

start_coordinator() {
    as alambic-coordinator alambic-coordinator serve 2>>"$root/tmp/coordinator.log" &
    programs+=("$!")
    until_so is_ready
}
start_agent() {
    as alambic-agent env CREDENTIALS_DIRECTORY=/run/alambic-credentials \
        alambic-agent run 2>>"$root/tmp/agent.log" &
    programs+=("$!")
}

[ "$(id -u)" -eq 0 ] || fail "run it as root"
shopt -s nullglob
archives=("$packages"/*-"$(dpkg --print-architecture)".tar.xz)
ls "$packages"/alambic-agent_*_"$(dpkg --print-architecture)".deb >/dev/null ||
    fail "there are no packages in $packages: make deb"

say "a clean Debian 12"
if [ -n "${BASE_ROOT:-}" ]; then
    tar -C "$root" -xf "$BASE_ROOT"
else
    debootstrap --variant=minbase bookworm "$root" >/dev/null
fi
mount -t proc proc "$root/proc"

if [ "${#archives[@]}" -gt 0 ]; then
    say "the archives, where OpenBLAS is not installed"
    ! inside ldconfig -p | grep -q openblas || fail "OpenBLAS is in the clean root"
    for archive in "${archives[@]}"; do
        tar -C "$root/tmp" -xf "$archive"
        folder=$(basename "$archive" .tar.xz)
        inside "/tmp/$folder/$(ls "$root/tmp/$folder" | grep -m1 -x 'alambic-[a-z]*')" --version
    done
else
    say "SKIPPED: no archives (make tarball)"
fi

say "install an older version"
mkdir "$root/tmp/old" "$root/tmp/new"
for package in "$packages"/alambic-*_"$(dpkg --print-architecture)".deb; do
    cp "$package" "$root/tmp/new/"
    work=$(mktemp -d)
    dpkg-deb -R "$package" "$work"
    sed -i 's/^Version: .*/Version: 0.0.1-1/' "$work/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone --build "$work" "$root/tmp/old/$(basename "$package")" >/dev/null
    rm -rf "$work"
done
inside apt-get update -q >/dev/null
inside sh -c 'apt-get install -q -y --no-install-recommends /tmp/old/*.deb' >"$root/tmp/apt.log" 2>&1 ||
    { tail -20 "$root/tmp/apt.log"; fail "the packages do not install"; }
for user in alambic-agent alambic-coordinator; do
    inside id "$user"
    [ "$(stat -c %a:%U "$root/var/lib/$user" | sed 's/:.*//')" = 700 ] || fail "state of $user is open"
    [ -s "$root/usr/share/man/man1/$user.1.gz" ] || fail "no manual page of $user"
    inside "$user" --version
done

say "start both, and let the agent join with a token"
sed -i 's/^listen = .*/listen = "127.0.0.1:0"/' "$root/etc/alambic/coordinator.toml"
coordinator init
start_coordinator
address=$(coordinator status --json | sed -n 's/.*"address": *"\([^"]*\)".*/\1/p' | head -1)
sed -i "s/^#address = .*/address = \"$address\"/" "$root/etc/alambic/agent.toml"
mkdir -p "$root/run/alambic-credentials"
coordinator token create --json | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' \
    >"$root/run/alambic-credentials/join-token"
chown -R --reference="$root/var/lib/alambic-agent" "$root/run/alambic-credentials"
start_agent
until_so has_joined
until_so connected
coordinator device list
stop_programs

say "upgrade: state and configuration stay"
identity=$(sha256sum <"$root/var/lib/alambic-coordinator/ca.pem")
inside sh -c 'apt-get install -q -y --no-install-recommends /tmp/new/*.deb' >"$root/tmp/apt.log" 2>&1 ||
    { tail -20 "$root/tmp/apt.log"; fail "the packages do not upgrade"; }
! inside dpkg-query -W -f '${Version}\n' 'alambic-*' | grep -q '^0.0.1-' || fail "nothing was upgraded"
[ "$(sha256sum <"$root/var/lib/alambic-coordinator/ca.pem")" = "$identity" ] || fail "state has changed"
grep -q '^listen = "127.0.0.1:0"' "$root/etc/alambic/coordinator.toml" || fail "configuration is lost"
sed -i "s/^listen = .*/listen = \"$address\"/" "$root/etc/alambic/coordinator.toml"
rm -rf "$root/run/alambic-credentials"
start_coordinator
start_agent
until_so connected
coordinator status
stop_programs

say "remove: data stay; purge: they go"
inside apt-get remove -q -y alambic-agent alambic-coordinator >/dev/null 2>&1
[ -s "$root/var/lib/alambic-agent/membership.json" ] || fail "removal took the agent's data"
[ -s "$root/var/lib/alambic-coordinator/ca.pem" ] || fail "removal took the coordinator's data"
[ -s "$root/etc/alambic/agent.toml" ] || fail "removal took the configuration"
inside apt-get purge -q -y alambic-agent alambic-coordinator >/dev/null 2>&1
for left in var/lib/alambic-agent var/lib/alambic-coordinator etc/alambic; do
    [ ! -e "$root/$left" ] || fail "purge left /$left"
done

say "all of it works"
