#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Lines of 100 bytes through drmq-send into one node, from a file and from a pipe, and out again with drmq-recv -e; in
# turns with a Redis stream (appendfsync always; a fifth of the messages), and with what the disk takes for the same bytes.
# Asked: the figure, or 60% of what the disk takes where that is lower.
. "$(dirname "$0")/bench.bash"
bench_begin throughput "$@"

bench_program bench-disk
bench_program bench-redis
lines "$messages" "$work/lines"
value=$(head -c 100 "$work/lines")
redis_messages=$((messages / 5))
start_node node
start_redis || note "no redis-server: no peer"

# shellcheck disable=SC2002 # the pipe is what is measured
send_piped() {
        cat "$work/lines" | drmq-send "$1"
}

receive() {
        drmq-recv "$1" -e >/dev/null
}

for ((round = 1; round <= rounds; round++)); do
        while read -r way rate _; do
                declare "$way+= $rate"
        done < <(bench-disk "$work" $((messages / 10000 + 1)))
        file+=" $(seconds drmq-send "file-$round" <"$work/lines")"
        pipe+=" $(seconds send_piped "pipe-$round")"
        recv+=" $(seconds receive "file-$round")"
        cmp <(drmq-recv "pipe-$round" -e) "$work/lines" || die "what came out is not what went in"
        drmqctl topics delete --yes "file-$round" "pipe-$round" >/dev/null
        if [ -n "${redis_port:-}" ]; then
                redis_in+=" $(redis-benchmark -p "$redis_port" -P 64 -n "$redis_messages" --csv XADD lines '*' v "$value" |
                        awk -F '","' 'END { print $2 }')"
                redis_out+=" $(bench-redis "$redis_port" lines | awk '{ print $1 / $2 }')"
                redis-cli -p "$redis_port" del lines >/dev/null
        fi
        note "round $round: load $(cut -d' ' -f1 /proc/loadavg)"
done

# The lists hold a number a round.
# shellcheck disable=SC2086,SC2154 # bench-disk's names
{
        for way in overwrite grow allocated zeroed; do
                figure "disk, the same bytes: $way" - "$(median ${!way})" MB/s
        done
        limit=$(awk -v rate="$(median $zeroed)" 'BEGIN { n = rate * 1e6 / 100 * 0.6; print int(n < 2000000 ? n : 2000000) }')
        figure "drmq-send from a file" ">=$limit" "$(per_second "$messages" $file)" msgs/s
        figure "drmq-send from a pipe" ">=$limit" "$(per_second "$messages" $pipe)" msgs/s
        figure "drmq-recv -e" ">=4000000" "$(per_second "$messages" $recv)" msgs/s
        if [ -n "${redis_port:-}" ]; then
                figure "redis-benchmark -P 64 XADD, appendfsync always" - "$(median $redis_in)" msgs/s
                figure "Redis XRANGE" - "$(median $redis_out)" msgs/s
                figure "drmq-send from a pipe / Redis (2.0M / 0.36M to 0.58M)" ">=3.4" \
                        "$(calc "$(per_second "$messages" $pipe) / $(median $redis_in)")"
                figure "drmq-recv / Redis" ">=1.0" "$(calc "$(per_second "$messages" $recv) / $(median $redis_out)")"
        fi
}
