#!/usr/bin/env bash
# Builds every test and runs the test programs side by side: most of them wait
# for timers and for other programs, not for a processor. What one prints is
# shown whole when it has ended. Ends with the names of those that failed.
# Programs, tests, examples and benches are built in one call: apart, cargo
# would build most of the workspace for each, since the crates that the tests
# add change the features of others.
# JOBS says how many run at once; arguments go to each program, as after
# `cargo test --`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CARGO=${CARGO:-cargo}
# A core each: threads of one program's BLAS would wait for those of the others.
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
JOBS=${JOBS:-$(($(nproc) + 1))}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

$CARGO build --release --locked --workspace --all-targets --message-format=json >"$work/messages"
# One line a program: its package's folder, and where it is.
grep -v '"kind":\["bench"\]' "$work/messages" | sed -n 's/.*"manifest_path":"\([^"]*\)\/Cargo\.toml".*"profile":{[^}]*"test":true}.*"executable":"\([^"]*\)".*/\1 \2/p' |
    sort -u >"$work/all"
if ! [ -s "$work/all" ]; then
    echo "test: cargo built no test program" >&2
    exit 1
fi

# The longest first, so that none is left running alone at the end.
first='store_crash|netem|trust|json|kill|fleet|commands|hostile|load|survive|backup|state|coordinator|alambic_'
{
    grep -E "/($first)[^/]*$" "$work/all" || true
    grep -vE "/($first)[^/]*$" "$work/all" || true
} >"$work/queue"

# shellcheck disable=SC2317 # xargs calls it
run_one() {
    local folder=$1 program=$2 name out status=0 begun=$SECONDS
    shift 2
    name=$(basename "$program")
    name=${name%-*}
    out=$(mktemp "$work/out.XXXXXX")
    (cd "$folder" && CARGO_MANIFEST_DIR=$folder "$program" "$@") >"$out" 2>&1 </dev/null || status=$?
    # One at a time, so that outputs do not mix.
    (
        flock 9
        printf '\n     Running %s (%d s)\n' "$name" $((SECONDS - begun))
        cat "$out"
        [ "$status" -eq 0 ] || echo "$name" >>"$work/failed"
    ) 9>"$work/lock"
    rm -f "$out"
}
export -f run_one
export work

xargs -P "$JOBS" -L 1 bash -c 'run_one "$@"' run_one <"$work/queue" || true

status=0
$CARGO test --release --locked --workspace --doc || status=$?
if [ -s "$work/failed" ]; then
    printf '\ntest: these programs failed: %s\n' "$(sort "$work/failed" | tr '\n' ' ')" >&2
    status=1
fi
exit "$status"
