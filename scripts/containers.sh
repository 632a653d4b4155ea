#!/usr/bin/env bash
# Clean Debian 12 roots, and containers that boot the systemd in them. Sourced;
# needs root.
#
#   containers_need TOOL...      fails, with what to install, where a tool is missing
#   debian_root ROOT             makes a fresh Debian 12, from the tarball BASE_ROOT if set
#   in_root ROOT COMMAND...      runs a command in a root that is not booted
#   boot NAME ROOT LOG OPTION... boots it under systemd-nspawn and waits until it is up
#   on NAME COMMAND...           runs a command in the container, as root
#   power_off NAME, cut_off NAME shuts it down, or pulls its plug
#   until_so COMMAND...          waits until a command succeeds, and fails if it does not

# Half a second each. A busy machine takes its time; what never comes is found
# out all the same. By tries and not by the clock, for this may be suspended.
readonly TRIES_MAX=360
readonly SETTINGS=(env --chdir=/root HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8)

# By name: the process of systemd-nspawn, and the container's first one as the
# machine outside counts.
declare -A nspawn init

containers_need() {
    local tool
    [ "$(id -u)" -eq 0 ] || fail "run it as root"
    for tool in debootstrap systemd-nspawn nsenter pgrep "$@"; do
        command -v "$tool" >/dev/null ||
            fail "$tool is missing. Install what this takes:" \
                "  apt-get install debootstrap systemd-container util-linux procps iproute2"
    done
}

debian_root() {
    mkdir -p "$1"
    if [ -n "${BASE_ROOT:-}" ]; then
        tar -C "$1" -xf "$BASE_ROOT"
    else
        debootstrap --variant=minbase bookworm "$1" >"$1.log" 2>&1 ||
            { tail -20 "$1.log" >&2; fail "debootstrap could not make a Debian 12 (above)"; }
        rm -f "$1.log"
    fi
    # Whoever boots it gets an identity of its own.
    : >"$1/etc/machine-id"
}

# The mount of /proc is seen by this command alone, and goes with it.
in_root() {
    local root=$1
    shift
    # shellcheck disable=SC2016 # the shell inside expands it
    unshare --mount --propagation private -- bash -euc '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        exec chroot "$root" "$@"
    ' in_root "$root" "${SETTINGS[@]}" "$@"
}

boot() {
    local name=$1 root=$2 log=$3 state
    shift 3
    systemd-nspawn --quiet --directory="$root" --machine="$name-$$" --boot --register=no --keep-unit \
        "$@" </dev/null >"$log" 2>&1 &
    nspawn[$name]=$!
    if ! wait_until is_up "$name"; then
        printf 'the end of what "%s" printed as it booted:\n' "$name" >&2
        tail -40 "$log" >&2
        if [ -n "${init[$name]:-}" ]; then
            state=$(system_state "$name")
            printf 'it says "%s"; these units have a job or have failed:\n' "$state" >&2
            on "$name" systemctl --no-pager --no-legend --plain list-jobs >&2 || true
            failed_units "$name" >&2
        fi
        fail "\"$name\" did not boot (above)"
    fi
    state=$(system_state "$name")
    if [ "$state" = degraded ]; then
        say "\"$name\" is up, without these units:"
        failed_units "$name"
    fi
}

# A unit of Debian's that fails in a container keeps nobody from using it.
is_up() {
    kill -0 "${nspawn[$1]}" || { WAIT_IS_VAIN=1; return 1; }
    find_init "$1" || return 1
    case $(system_state "$1") in
    running | degraded) ;;
    *) return 1 ;;
    esac
}
system_state() { on "$1" systemctl is-system-running 2>&1 || true; }
failed_units() { on "$1" systemctl --no-pager --no-legend --plain --failed || true; }

# systemd-nspawn first has a child that prepares the root and ends; the one
# that counts is in a namespace of its own. Told apart at each try.
find_init() {
    local child theirs ours
    ours=$(readlink /proc/self/ns/pid)
    for child in $(pgrep -P "${nspawn[$1]}"); do
        theirs=$(readlink "/proc/$child/ns/pid") || continue
        if [ "$theirs" != "$ours" ]; then
            init[$1]=$child
            return 0
        fi
    done
    return 1
}

on() {
    local name=$1
    shift
    [ -n "${init[$name]:-}" ] || { printf '"%s" is not booted\n' "$name" >&2; return 1; }
    nsenter --target "${init[$name]}" --mount --uts --ipc --net --pid --root "${SETTINGS[@]}" "$@"
}

power_off() {
    [ -n "${nspawn[$1]:-}" ] || return 0
    on "$1" systemctl poweroff >/dev/null 2>&1 || kill "${nspawn[$1]}" 2>/dev/null || true
    ended "$1"
}
cut_off() {
    [ -n "${nspawn[$1]:-}" ] || return 0
    kill -KILL "${init[$1]:-${nspawn[$1]}}" 2>/dev/null || true
    ended "$1"
}
ended() {
    wait "${nspawn[$1]}" 2>/dev/null || true
    unset "nspawn[$1]" "init[$1]"
}

# Succeeds once a command does; fails after many tries, or if WAIT_IS_VAIN is set.
wait_until() {
    local tries=0
    WAIT_IS_VAIN=
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ -z "$WAIT_IS_VAIN" ] && [ "$tries" -lt "$TRIES_MAX" ] || return 1
        sleep 0.5
    done
}
until_so() {
    wait_until "$@" && return
    printf 'what it said last:\n' >&2
    "$@" >&2 || true
    fail "not after $TRIES_MAX tries: $*"
}
