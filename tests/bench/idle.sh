#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# An idle node: what is resident, and how often any of its threads wakes up in 30 seconds; new, and after it has worked.
. "$(dirname "$0")/bench.bash"
bench_begin idle "$@"

idle_seconds=30

switches() {
        cat "/proc/$node_pid/task"/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'
}

look() { # WHEN
        local before

        before=$(switches)
        sleep "$idle_seconds"
        figure "$1: resident" "<10" "$(calc "$(memory "$node_pid" VmRSS) / 1024")" MiB
        figure "$1: wake-ups" "<1" "$(calc "($(switches) - $before) / $idle_seconds")" /s
}

start_node node
look "idle, new"
lines $((messages / 10)) "$work/lines"
drmq-send lines <"$work/lines"
drmq-recv lines -e >/dev/null
look "idle, after $((messages / 10)) messages in and out"
