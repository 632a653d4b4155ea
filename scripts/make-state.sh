#!/usr/bin/env bash
# Makes the small fleet whose state later versions have to open: a coordinator
# and two agents after two rounds, and what one of them predicts. Run once for
# each minor version, with that version's programs.
# Usage: scripts/make-state.sh FOLDER_OF_PROGRAMS OUT.tar.gz
set -euo pipefail
# shellcheck source=scripts/messages.sh
. "$(dirname "${BASH_SOURCE[0]}")/messages.sh"
# shellcheck source=scripts/fleet.sh
. "$(dirname "${BASH_SOURCE[0]}")/fleet.sh"

[ $# -eq 2 ] || fail "usage: scripts/make-state.sh FOLDER_OF_PROGRAMS OUT.tar.gz"
programs=$(cd "$1" && pwd)
out=$(realpath -m "$2")
[ ! -e "$out" ] || fail "$out is there already, and stays"
folder=$(mktemp -d)
started=()
# shellcheck disable=SC2317 # called by the trap
tidy() {
    kill "${started[@]}" 2>/dev/null || true
    wait
    rm -rf "$folder"
}
trap tidy EXIT
cd "$folder"
mkdir data-0 data-1
export OPENBLAS_NUM_THREADS=1 ALAMBIC_LOG=warn

coordinator() { "$programs/alambic-coordinator" "$@" --state "$folder/coordinator"; }
agent() { "$programs/alambic-agent" "$@"; }
status() { coordinator status --json; }
circle_rows 1 120 >data-0/rows.csv
circle_rows 2 120 >data-1/rows.csv
circle_rows 3 30 >new.csv
circle_task state >task.toml

coordinator init >/dev/null
# Whoever opens this in years still renews its certificate.
cat >coordinator/coordinator.toml <<'CONFIG'
[certificate]
device_lifetime = "366d"
renewal_grace = "3660d"
[page]
listen = "off"
CONFIG
# Not by the functions: those would run, and be ended, in a shell between.
"$programs/alambic-coordinator" serve --listen 127.0.0.1:0 --state "$folder/coordinator" &
started+=("$!")
until status >/dev/null 2>&1; do sleep 0.2; done
address=$(status | field address)
coordinator task create task.toml >/dev/null
token=$(coordinator token create --uses 2 --json | field token)
for device in 0 1; do
    agent enrol --state "agent-$device" --coordinator "$address" --token "$token" >/dev/null
    "$programs/alambic-agent" run --state "agent-$device" --data "data-$device" &
    started+=("$!")
done
until [ "$(status | count_connected)" = 2 ]; do sleep 0.2; done
for _ in 1 2; do coordinator round start --watch; done
newest=$(coordinator model list --json | field version)
for device in 0 1; do
    until [ "$(agent student current --state "agent-$device" --json | field version)" = "$newest" ]; do sleep 0.2; done
done
kill "${started[@]}"
wait "${started[@]}" || true
started=()

agent predict --state agent-0 --input new.csv --json >predictions.json
agent student list --state agent-0 --json >students.json
agent sent list --state agent-0 --json >sent.json
mkdir -p "$(dirname "$out")"
find . -name '*.sock' -delete
tar --owner=0 --group=0 --sort=name -cf - . | gzip -9n >"$out"
ls -l "$out"
