#!/usr/bin/env bash
# The small fleet that scripts run: its task, its devices' rows, and what the
# programs' --json says of it. Sourced.

# Rows of three classes on a circle, as CSV, from a generator that is the same
# everywhere: circle_rows SEED ROWS
circle_rows() {
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

# The task that learns them: circle_task NAME
circle_task() {
    cat <<TASK
name = "$1"
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
}

# The first string under a name in JSON: field NAME
field() { sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p' | head -1; }

# How many devices are connected, in what `status --json` says.
count_connected() { grep -o '"connected": *true' | wc -l; }
