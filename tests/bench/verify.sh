#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# How fast `drmqctl log verify` reads a directory that is in the page cache, on one core: 2 GB/s are asked for.
# Usage: verify.sh [-r ROUNDS] [-m MIB]
set -euo pipefail

rounds=5 mib=512
while getopts r:m: option; do
        case $option in
        r) rounds=$OPTARG ;;
        m) mib=$OPTARG ;;
        *) exit 2 ;;
        esac
done
export PATH=${DRMQ_BUILD:-$(dirname "$0")/../../build}/bin:$PATH

work=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon"; rm -rf "$work"' EXIT
export XDG_RUNTIME_DIR=$work DRMQ_BROKERS=unix:$work/socket
drmqd --node bench-verify --data-dir "$work/data" --port 0 --listen "unix:$work/socket" >"$work/log" 2>&1 &
daemon=$!
until drmqctl leader >"$work/leader" 2>&1; do sleep 0.1; done
head -c $((mib << 20)) /dev/zero | tr '\0' 'x' | fold -w 999 | drmq-send bench
kill "$daemon"
wait "$daemon" || true
daemon=

bytes=$(cat "$work"/data/shard-*/* | wc -c) # and with that it is in the page cache
for ((i = 1; i <= rounds; i++)); do
        usec=$( { TIMEFORMAT='%U %S'; time taskset -c 0 drmqctl log verify "$work/data" 2>"$work/said"; } 2>&1 |
                awk '{ printf "%d", ($1 + $2) * 1000000 }')
        awk -v b="$bytes" -v u="$usec" -v i="$i" \
                'BEGIN { printf "round %d: %.2f GB/s of processor time (asked: 2)\n", i, b / u / 1000 }'
done
