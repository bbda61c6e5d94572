#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# One message at a time, synced, alone, beside 10,000 idle connections, and beside 10,000 long polls that wait; in turns.
# -n is divided by 1000: 5000 messages in a round.
. "$(dirname "$0")/bench.bash"
bench_begin crowd "$@"

crowd=10000
bench_program bench-crowd
start_node node --set limits.connections=$((crowd + 100))
bench-crowd -n $((messages / 1000)) -r "$rounds" -c "$crowd" -P "$node_pid" "$node_address" >"$work/out"
of() { # NAME COLUMN
        awk -v name="$1" -v column="$2" '$1 == name { print $column }' "$work/out"
}

figure "alone: median" - "$(of alone 2)" us
figure "alone: p99" - "$(of alone 3)" us
for who in idle polls; do
        figure "beside $crowd $who: p99" - "$(of $who 3)" us
        figure "beside $crowd $who / alone: p99" "<=1.1" "$(calc "$(of $who 3) / $(of alone 3)")"
        figure "beside $crowd $who: resident" "<100" "$(of $who 4)" MiB
done
