#!/usr/bin/env bash
# Makes the small fleet whose state later versions have to open: a coordinator
# and two agents after two rounds, and what one of them predicts. Run once for
# each minor version, with that version's programs.
# Usage: scripts/make-state.sh FOLDER_OF_PROGRAMS OUT.tar.gz
set -euo pipefail

programs=$(cd "$1" && pwd)
out=$(realpath -m "$2")
[ ! -e "$out" ] || { echo "make-state: $out is there already, and stays" >&2; exit 1; }
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
field() { sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p' | head -1; }

# Three classes on a circle, from a generator that is the same everywhere.
rows() {
    awk -v seed="$1" -v rows="$2" 'BEGIN {
        print "a,b,c,d,label"
        for (row = 0; row < rows; row++) {
            class = row % 3
            line = ""
            for (at = 0; at < 4; at++) {
                seed = (seed * 16807) % 2147483647
                line = line sprintf("%.4f,", 2 * cos(class * 2.1 + at) + seed / 2147483647 - 0.5)
            }
            print line "class" class
        }
    }'
}
rows 1 120 >data-0/rows.csv
rows 2 120 >data-1/rows.csv
rows 3 30 >new.csv
cat >task.toml <<'TASK'
name = "state"
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
until coordinator status >status 2>/dev/null; do sleep 0.2; done
address=$(coordinator status --json | field address)
coordinator task create task.toml >/dev/null
token=$(coordinator token create --uses 2 --json | field token)
for device in 0 1; do
    agent enrol --state "agent-$device" --coordinator "$address" --token "$token" >/dev/null
    "$programs/alambic-agent" run --state "agent-$device" --data "data-$device" &
    started+=("$!")
done
until [ "$(coordinator status --json | grep -o '"connected": *true' | wc -l)" = 2 ]; do sleep 0.2; done
for _ in 1 2; do coordinator round start --watch; done
until agent student current --state agent-0 --json | grep -q '"version"'; do sleep 0.2; done
sleep 2 # the second student is fetched and tried
kill "${started[@]}"
wait "${started[@]}" || true
started=()

agent predict --state agent-0 --input new.csv --json >predictions.json
agent student list --state agent-0 --json >students.json
agent sent list --state agent-0 --json >sent.json
rm -f status
mkdir -p "$(dirname "$out")"
find . -name '*.sock' -delete
tar --owner=0 --group=0 --sort=name -cf - . | gzip -9n >"$out"
ls -l "$out"
