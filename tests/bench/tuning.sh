#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What drmq.conf(5), TUNING, says: the samples against the defaults, and keys one at a time, on one disk and in turns. Each
# node is measured with one message at a time (median and p99 until it is acknowledged), with four senders at a time, with
# one reader of what they sent, and for how long it needs to start after a kill. -n is shared by the four senders.
# $VARIANTS, names with blanks between them, asks for some of them only; "batch" is for drmq-send's --batch.
. "$(dirname "$0")/bench.bash"
bench_begin tuning "$@"

bench_program bench-latency
lines $((messages / 4)) "$work/lines"

# A variant: its name, and what the command line of the node says.
variants=(
        "default"
        "throughput.conf --config=$root/systemd/throughput.conf"
        "latency.conf --config=$root/systemd/latency.conf"
        "sync=10ms --set=log.sync=10ms"
        "sync=1s --set=log.sync=1s"
        "sync=never --set=log.sync=never"
        "segment_size=8M --set=log.segment_size=8M"
        "segment_size=1G --set=log.segment_size=1G"
        "checkpoint_size=8M --set=log.checkpoint_size=8M"
        "checkpoint_size=2G --set=log.checkpoint_size=2G"
        "request_bytes=17M --set=limits.request_bytes=17M"
        "request_bytes=512M --set=limits.request_bytes=512M"
        "fetch_bytes=1M --set=limits.fetch_bytes=1M"
)
if [ -n "${VARIANTS:-}" ]; then
        for i in "${!variants[@]}"; do
                [[ " $VARIANTS " == *" ${variants[i]%% *} "* ]] || unset "variants[i]"
        done
fi
batches=(4K 16K 64K 256K 1M)
[[ " ${VARIANTS:-batch} " == *" batch "* ]] || batches=()
declare -A batch
declare -A p50 p99 send recv start resident

send_four() {
        local pids=() pid

        for _ in 1 2 3 4; do
                drmq-send lines <"$work/lines" &
                pids+=("$!")
        done
        for pid in "${pids[@]}"; do wait "$pid" || return 1; done
}

receive() {
        drmq-recv lines -e >/dev/null
}

for ((round = 1; round <= rounds; round++)); do
        for variant in "${variants[@]}"; do
                read -r name options <<<"$variant"
                read -ra options <<<"$options"
                rm -rf "$work/n"
                start_node n "${options[@]}"
                bench-latency -n 2000 -r 1 -d "$work" -u "$DRMQ_BROKERS" >"$work/out"
                p50[$name]+=" $(awk '$1 == "drmq-unix" { print $2 }' "$work/out")"
                p99[$name]+=" $(awk '$1 == "drmq-unix" { print $3 }' "$work/out")"
                send[$name]+=" $(seconds send_four)"
                recv[$name]+=" $(seconds receive)"
                resident[$name]+=" $(($(memory "$node_pid" VmHWM) / 1024))"
                kill_node KILL
                begin=$EPOCHREALTIME
                start_node n "${options[@]}" # in this shell, which learns its pid
                start[$name]+=" $(calc "$EPOCHREALTIME - $begin")"
                kill_node KILL
        done
        if [ ${#batches[@]} -gt 0 ]; then
                rm -rf "$work/n"
                start_node n
                for size in "${batches[@]}"; do
                        batch[$size]+=" $(seconds drmq-send --batch="$size" "batch-$size" <"$work/lines")"
                done
                kill_node KILL
        fi
        note "round $round: load $(cut -d' ' -f1 /proc/loadavg)"
done

# The lists hold a number a round.
# shellcheck disable=SC2086
for variant in "${variants[@]}"; do
        read -r name _ <<<"$variant"
        figure "$name: one message, median" - "$(median ${p50[$name]})" us
        figure "$name: one message, p99" - "$(median ${p99[$name]})" us
        figure "$name: four senders" - "$(per_second "$messages" ${send[$name]})" msgs/s
        figure "$name: one reader" - "$(per_second "$messages" ${recv[$name]})" msgs/s
        figure "$name: start after a kill" - "$(median ${start[$name]})" s
        figure "$name: resident at most" - "$(median ${resident[$name]})" MiB
done
# shellcheck disable=SC2086
for size in "${batches[@]}"; do
        figure "drmq-send --batch=$size" - "$(per_second $((messages / 4)) ${batch[$size]})" msgs/s
done
