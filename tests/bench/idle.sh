#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# An idle node: what is resident, and how often any of its threads wakes up in 30 seconds; new, and after it has worked.
. "$(dirname "$0")/bench.bash"
bench_begin idle "$@"

idle_seconds=30

# A line for each thread: its id and how often it was switched to.
switches() {
        awk '/^Pid:/ { pid = $2 } /ctxt_switches/ { n[pid] += $2 } END { for (pid in n) print pid, n[pid] }' \
                "/proc/$node_pid/task"/*/status
}

look() { # WHEN
        local wakeups

        switches >"$work/before"
        sleep "$idle_seconds"
        # A thread that ended meanwhile is not counted, one that began is.
        wakeups=$(switches | awk 'NR == FNR { before[$1] = $2; next } { n += $2 - before[$1] } END { print n }' "$work/before" -)
        figure "$1: resident" "<10" "$(calc "$(memory "$node_pid" VmRSS) / 1024")" MiB
        figure "$1: wake-ups" "<1" "$(calc "$wakeups / $idle_seconds")" /s
}

start_node node
look "idle, new"
lines $((messages / 10)) "$work/lines"
drmq-send lines <"$work/lines"
drmq-recv lines -e >/dev/null
look "idle, after $((messages / 10)) messages in and out"
