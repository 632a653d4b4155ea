#!/usr/bin/env bash
# Types the runbook, docs/guide-operator.md, from beginning to end as root would:
# four clean Debian 12 machines (a server, two devices, and the server that
# takes the first one's place), each with its own systemd, on one network of
# their own. Needs root, the packages of `make deb`, debootstrap and
# systemd-nspawn; some minutes.
#
# BASE_ROOT names the tarball of a fresh Debian 12 root, to skip the first step.
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

network=alambic-$$
machines=()

# shellcheck disable=SC2317 # called by the trap
tidy() {
    local status=$? machine
    for machine in "${machines[@]}"; do
        [ "$status" -eq 0 ] || on "$machine" journalctl --no-pager -n 25 -u 'alambic-*' || true
        lose "$machine"
    done
    ip netns delete "$network" 2>/dev/null || true
    rm -rf "$home"
}

# A machine that has never seen us.
new_machine() {
    local machine=$1
    mkdir "$home/$machine" "$home/$machine.own" "$home/$machine.work"
    mount -t overlay overlay "$home/$machine" \
        -o "lowerdir=$home/base,upperdir=$home/$machine.own,workdir=$home/$machine.work"
    machines+=("$machine")
    boot "$machine" "$home/$machine" "$home/$machine.log" --network-namespace-path="/run/netns/$network"
}
lose() {
    cut_off "$1"
    umount "$home/$1" 2>/dev/null || true
}

install_on() {
    on "$1" sh -c "apt-get install -q -y --no-install-recommends /packages/$2/$3_*.deb" >"$home/apt.log" 2>&1 ||
        { tail -20 "$home/apt.log"; fail "$3 does not install on $1 (above)"; }
}

status() { on "$server" alambic-coordinator status --json; }
connected() { [ "$(status | count_connected)" = "$1" ]; }
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
is_revoked() { on "$server" alambic-coordinator device show "$1" --json | grep '"revoked": *true' >/dev/null; }

make_base() {
    local base=$home/base
    debian_root "$base"
    mkdir -p "$base/packages/old" "$base/packages/new" "$base/srv/windows"
    cp "${BUILT_DEBS[@]}" "$base/packages/new/"
    built_age "$base/packages/old"
    # The machines have no network: what the packages stand on comes before.
    in_root "$base" sh -c 'apt-get update -q &&
        apt-get install -q -y --no-install-recommends systemd-sysv dbus curl b3sum &&
        apt-get install -q -y --no-install-recommends --download-only /packages/new/*.deb' >"$home/apt.log" 2>&1 ||
        { tail -20 "$home/apt.log"; fail "what the packages stand on cannot be had (above)"; }
}

containers_need unshare ip
built_find
home=$(mktemp -d /tmp/alambic-runbook.XXXXXX)
trap tidy EXIT

step "a clean Debian 12, three times"
make_base
ip netns add "$network"
ip -n "$network" link set lo up
server=server
for machine in server one two; do
    new_machine "$machine"
done

step "First fleet"
install_on server old alambic-coordinator
on server alambic-coordinator init
on server systemctl enable --now alambic-coordinator
until_so status
on server alambic-coordinator doctor
circle_task circle >"$home/server/root/task.toml"
on server alambic-coordinator task create task.toml
token=$(on server alambic-coordinator token create --uses 10 --json | field token)
seed=0
for machine in one two; do
    install_on "$machine" old alambic-agent
    seed=$((seed + 1))
    circle_rows "$seed" 120 >"$home/$machine/srv/windows/rows.csv"
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

step "Upgrade: coordinator first, devices when they can"
install_on server new alambic-coordinator
until_so connected 2
on server alambic-coordinator round start --watch
for machine in one two; do
    install_on "$machine" new alambic-agent
done
until_so connected 2
on server alambic-coordinator round start --watch
until_so all_follow one two

step "A release key is stolen"
before=$(version_on one)
on server alambic-coordinator key rotate --revoke --root-key /media/safe/root.pem
on server systemctl restart alambic-coordinator
until_so newer_than one "$before"
until_so all_follow one two
on server alambic-coordinator key show

step "A new certificate authority"
on server alambic-coordinator ca rotate
on server systemctl restart alambic-coordinator
until_so connected 2
on server alambic-coordinator ca show
! on server alambic-coordinator ca retire || fail "an authority was retired that devices stand on"

step "A student that may be bad"
on server alambic-coordinator rollout status
on server alambic-coordinator rollout rollback
until_so all_follow one two

step "The server is lost"
mkdir -p "$home/server/backup"
on server alambic-coordinator backup --out /backup/alambic.tar
on server alambic-coordinator restore --from /backup/alambic.tar --verify
on server sh -c 'mkdir look && tar -C look -xf /backup/alambic.tar && cd look && b3sum --check manifest.b3' >/dev/null
cp "$home/server/backup/alambic.tar" "$home/server/media/safe/root.pem" "$home/safe/"

step "A device is lost: after the backup, so it has to be revoked again"
stolen=$(on two alambic-agent status --json | field device)
on server alambic-coordinator device revoke "$stolen" --reason stolen
until_so connected 1
is_revoked "$stolen" || fail "the device is not revoked"

lose server
server=successor
new_machine successor
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

step "The page, the metrics and the alerts"
on successor curl -sf http://127.0.0.1:4480/ >"$home/page"
grep -q 'id="content"' "$home/page" || fail "there is no page"
on successor curl -sf http://127.0.0.1:4480/metrics >"$home/metrics"
grep -q '^alambic_devices{' "$home/metrics" || fail "there are no metrics"
sed -n 's/^ *- alert: *//p' configs/prometheus-*.yml | while read -r alert; do
    grep -q "^| \`$alert\` |" docs/guide-operator.md || fail "the runbook says nothing of $alert"
done

step "the runbook holds"
