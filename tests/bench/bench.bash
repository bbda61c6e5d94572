# shellcheck shell=bash disable=SC2034 # set for those that source this
# SPDX-License-Identifier: Apache-2.0
#
# What the benchmarks share: options, a node and a Redis of their own, and the table of figures. Each script begins with
#
#     . "$(dirname "$0")/bench.bash"
#     bench_begin NAME "$@"
#
# and then has $work, an empty folder on the disk that is measured, which goes away with all that was started when the
# script ends. Options of every script:
#
#     -d FOLDER   the disk to measure: a folder on it (default: build/bench-data)
#     -n N        messages in a round      -r N   rounds, each thing in turn in each; medians are shown
#     -b FOLDER   where drmqd and the tools are (default: build/bin); copied first, so that a build does not disturb
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$root/build/bench-data
bin=$root/build/bin
messages=5000000
rounds=3
started=()

bench_begin() {
        local name=$1 option

        shift
        while getopts d:n:r:b: option; do
                case $option in
                d) folder=$OPTARG ;;
                n) messages=$OPTARG ;;
                r) rounds=$OPTARG ;;
                b) bin=$OPTARG ;;
                *) exit 2 ;;
                esac
        done
        mkdir -p "$folder"
        work=$(mktemp -d "$(cd "$folder" && pwd)/$name.XXXXXX")
        trap bench_end EXIT
        trap 'exit 130' INT TERM
        mkdir "$work/bin"
        cp "$bin"/{drmqd,drmq-send,drmq-recv,drmqctl} "$work/bin/"
        PATH=$work/bin:$PATH
        # Nobody finds the nodes of a benchmark by chance.
        export XDG_RUNTIME_DIR=$work
        note "load $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) cores, data in $work"
}

bench_end() {
        local pid

        for pid in "${started[@]}"; do
                kill -9 "$pid" 2>/dev/null && wait_gone "$pid"
        done
        rm -rf "$work"
}

wait_gone() {
        timeout 60 tail -s 0.005 --pid="$1" -f /dev/null
}

# What a reader of the figures wants to know, but no script.
note() {
        echo "# $*" >&2
}

die() {
        echo "$0: $*" >&2
        exit 1
}

# ---- A node ----

# start_node NAME [OPTION]... — sets $node_pid, $node_address (TCP), $node_socket and $DRMQ_BROKERS (the socket).
start_node() {
        local name=$1 deadline=$((SECONDS + 60))

        shift
        node_socket=$work/$name.sock
        export DRMQ_BROKERS=unix:$node_socket
        drmqd --node "bench-$$-$name" --data-dir "$work/$name" --port 0 --listen "$DRMQ_BROKERS" "$@" \
                >"$work/$name.log" 2>&1 </dev/null &
        node_pid=$!
        disown
        started+=("$node_pid")
        until drmqctl status >/dev/null 2>&1; do
                if [ ! -e "/proc/$node_pid" ] || [ "$SECONDS" -ge "$deadline" ]; then
                        die "the node does not come up: $(tail -n 3 "$work/$name.log")"
                fi
        done
        node_address=$(sed -n 's/.*Listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$work/$name.log" | tail -n 1)
}

# kill_node [SIGNAL] — and waits until it has gone. Killed, it leaves its socket behind.
kill_node() {
        kill "-${1:-TERM}" "$node_pid"
        wait_gone "$node_pid"
        rm -f "$node_socket"
}

# node_status FILTER — of its status, by jq.
node_status() {
        drmqctl status --json | jq -r "$1"
}

# memory PID FIELD — in KiB; FIELD is VmRSS or VmHWM.
memory() {
        awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"
}

# ---- The peer ----

# start_redis — with every write synced; sets $redis_port. Fails where Redis is not installed.
start_redis() {
        local deadline=$((SECONDS + 20))

        command -v redis-server >/dev/null || return 1
        mkdir -p "$work/redis"
        for redis_port in $(shuf -i 20000-32000 -n 5); do
                redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$work/redis" --appendonly yes \
                        --appendfsync always --auto-aof-rewrite-percentage 0 --save '' >"$work/redis.log" 2>&1 </dev/null &
                started+=("$!")
                disown
                while [ -e "/proc/$!" ] && [ "$SECONDS" -lt "$deadline" ]; do
                        redis-cli -p "$redis_port" ping >/dev/null 2>&1 && return 0
                done
        done
        die "Redis does not come up: $(tail -n 1 "$work/redis.log")"
}

# A program of tests/bench, built where it is missing or old; prints its path.
bench_program() {
        make -s -C "$root" "build/bench/$1" >&2 || die "cannot build $1"
        cp "$root/build/bench/$1" "$work/bin/"
}

# ---- Figures ----

# seconds COMMAND... — how long it took; it must succeed.
seconds() {
        local begin=$EPOCHREALTIME end

        "$@" || die "failed: $*"
        end=$EPOCHREALTIME
        awk -v a="$begin" -v b="$end" 'BEGIN { printf "%.6f\n", b - a }'
}

# calc EXPRESSION — as awk takes it, to three places.
calc() {
        awk "BEGIN { printf \"%.3f\\n\", $1 }"
}

median() {
        printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# per_second N SECONDS... — N over the median.
per_second() {
        local n=$1

        shift
        awk -v n="$n" -v s="$(median "$@")" 'BEGIN { printf "%.0f\n", n / s }'
}

# figure WHAT ASKED MEASURED [UNIT] — a line of the table. ASKED is ">=N", "<=N", "<N", "=N" or "-" (nothing is asked: a
# peer). The ratio is measured to asked.
figure() {
        awk -v what="$1" -v asked="$2" -v measured="$3" -v unit="${4:-}" 'BEGIN {
                ratio = "-"; verdict = ""
                if (match(asked, /[0-9.]+$/)) {
                        limit = substr(asked, RSTART) + 0
                        relation = substr(asked, 1, RSTART - 1)
                        if (limit > 0)
                                ratio = sprintf("%.2f", measured / limit)
                        good = relation == ">=" ? measured >= limit : relation == "<=" ? measured <= limit : \
                               relation == "<" ? measured < limit : measured == limit
                        verdict = good ? "reached" : "MISSED"
                }
                printf "%-58s %12s %12s %-7s %6s  %s\n", what, asked, measured, unit, ratio, verdict
        }'
}

# 100-byte lines, newline not counted: a number of nine digits and padding. lines N FILE
lines() {
        awk -v n="$1" 'BEGIN {
                pad = sprintf("%91s", ""); gsub(/ /, "x", pad)
                for (i = 0; i < n; i++)
                        printf "%09d%s\n", i, pad
        }' >"$2"
}
