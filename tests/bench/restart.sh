#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A node with 5 million messages is killed and started again: how long until it serves. Killed at once after the last
# message is acknowledged, and killed while messages come in. Then a clean stop, after which a start replays nothing.
. "$(dirname "$0")/bench.bash"
bench_begin restart "$@"

lines "$messages" "$work/lines"
start_node node

# restarted — starts it, with both clocks: from exec until a tool was answered, and the node's own.
restarted() {
        local begin=$EPOCHREALTIME

        start_node node
        wall+=" $(calc "($EPOCHREALTIME - $begin) * 1000")"
        ready+=" $(node_status .ready_usec)"
        replayed+=" $(node_status '[.shards[].replayed_entries] | add')"
}

show() { # WHEN
        # shellcheck disable=SC2086 # a number a round
        {
                note "$1: entries replayed:$replayed; ready:$ready us"
                figure "$1: exec to answered, median" "<200" "$(median $wall)" ms
                figure "$1: exec to ready, median" "<200" "$(calc "$(median $ready) / 1000")" ms
        }
        wall='' ready='' replayed=''
}

wall='' ready='' replayed=''
for ((round = 1; round <= rounds; round++)); do
        drmq-send "lines-$round" <"$work/lines"
        kill_node KILL
        restarted
done
show "killed after $messages messages"

for ((round = 1; round <= rounds; round++)); do
        drmq-send "more-$round" <"$work/lines" 2>/dev/null &
        sender=$!
        until [ "$(drmqctl offsets "more-$round" --json 2>/dev/null | jq -r .offset)" -gt $((messages / (round + 2))) ] 2>/dev/null; do
                [ -e "/proc/$sender" ] || die "the sender ended too early"
        done
        kill_node KILL
        restarted
        wait "$sender" || die "the sender did not survive"
done
show "killed while messages come in"

for ((round = 1; round <= rounds; round++)); do
        kill_node TERM
        restarted
done
last=${replayed##* }
show "stopped cleanly"
figure "stopped cleanly: entries replayed" "=0" "$last"
