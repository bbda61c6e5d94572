#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# 10 GB piped through a node, in and out: what is resident at most, in the node and in the tools. -n gives the number of
# 100-byte lines that are piped 20 times.
. "$(dirname "$0")/bench.bash"
bench_begin volume "$@"

lines "$messages" "$work/lines"
start_node node
drmqctl topics create volume >/dev/null

# peak_of NAME COMMAND... — runs it, and writes the most that was resident of it, in KiB, to $work/NAME.
peak_of() {
        local name=$1 pid peak=0 now

        shift
        "$@" &
        pid=$!
        while now=$(memory "$pid" VmHWM 2>/dev/null) && [ -n "$now" ]; do
                peak=$now
                sleep 0.1
        done
        wait "$pid" || die "$name failed"
        echo "$peak" >"$work/$name"
}

many() {
        local i

        for ((i = 0; i < 20; i++)); do
                cat "$work/lines"
        done
}

exec 5< <(peak_of recv drmq-recv volume -n $((messages * 20)) | cksum)
begin=$EPOCHREALTIME
many | peak_of send drmq-send volume
read -r sum bytes <&5
end=$EPOCHREALTIME
[ "$sum $bytes" = "$(many | cksum)" ] || die "what came out is not what went in"

note "$bytes bytes in and out beside each other in $(calc "$end - $begin") s"
figure "10 GB in and out: node, most resident" "<100" "$(calc "$(memory "$node_pid" VmHWM) / 1024")" MiB
figure "10 GB in and out: drmq-send, most resident" "<100" "$(calc "$(cat "$work/send") / 1024")" MiB
figure "10 GB in and out: drmq-recv, most resident" "<100" "$(calc "$(cat "$work/recv") / 1024")" MiB
