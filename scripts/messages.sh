#!/usr/bin/env bash
# What scripts say to the person who runs them. Sourced.

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }
# The beginning of a part of a long script.
step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
# One line for each argument.
fail() {
    local line
    for line in "$@"; do
        say "$line" >&2
    done
    exit 1
}
