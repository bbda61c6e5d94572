#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# All benchmarks, or those that are named: run.sh [OPTION]... [NAME...]. The options are those of each (bench.bash); the table
# goes to stdout, what else is worth knowing to stderr. Bounded: what takes longer than 15 minutes is ended.
set -euo pipefail
cd "$(dirname "$0")"

options=()
while [[ ${1:-} == -* ]]; do
        [ $# -ge 2 ] || {
                echo "usage: run.sh [-d FOLDER] [-n MESSAGES] [-r ROUNDS] [-b PROGRAMS] [NAME...]; see README.md" >&2
                exit 2
        }
        options+=("$1" "$2")
        shift 2
done
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(throughput latency crowd syncs idle restart topics tuning volume snapshot)

printf '%-58s %12s %12s %-7s %6s\n' figure asked measured '' ratio
status=0
for name in "${names[@]}"; do
        echo "== $name"
        timeout --foreground 900 "./$name.sh" "${options[@]}" || {
                echo "$name failed" >&2
                status=1
        }
done
exit "$status"
