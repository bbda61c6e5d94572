#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# One message at a time, synced: the median until it is acknowledged. In turns with Redis (appendfsync always, TCP) and with
# an overwrite of 4 KiB and fdatasync. -n is divided by 1000: 5000 messages in a round.
. "$(dirname "$0")/bench.bash"
bench_begin latency "$@"

bench_program bench-latency
start_redis || note "no redis-server: no peer"
start_node tcp
tcp=$node_address
start_node unix
args=(-n $((messages / 1000)) -r $((rounds * 3)) -d "$work" -u "unix:$node_socket" -t "$tcp")
[ -z "${redis_port:-}" ] || args+=(-p "$redis_port")

bench-latency "${args[@]}" >"$work/out"
of() { # NAME COLUMN
        awk -v name="$1" -v column="$2" '$1 == name { print $column }' "$work/out"
}

figure "disk: 4 KiB overwritten, fdatasync: median" - "$(of disk 2)" us
if [ -n "${redis_port:-}" ]; then
        figure "Redis XADD, appendfsync always: median" - "$(of redis 2)" us
        figure "Redis XADD: p99" - "$(of redis 3)" us
fi
for way in unix tcp; do
        figure "DRMQ over $way: median" "${redis_port:+<=$(of redis 2)}" "$(of drmq-$way 2)" us
        figure "DRMQ over $way: p99" - "$(of drmq-$way 3)" us
        figure "DRMQ over $way / disk: median" - "$(calc "$(of drmq-$way 2) / $(of disk 2)")"
done
