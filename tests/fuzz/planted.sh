#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The fuzzers' alarm works: with a bug planted in a decoder its fuzz target dies soon, and without it the very input
# that it died of is harmless. `make fuzz` runs this behind the targets.
set -euo pipefail

folder=${FUZZ_FOLDER:-build/fuzz}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
n=0
status=0

tell() {
        n=$((n + 1))
        if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else
                echo "not ok $n - $2"
                status=1
        fi
}

# try TARGET BUG: it is found within a minute, and is the bug's.
try() {
        local target=$1 bug=$2 found=1 harmless=1
        mkdir "$scratch/$bug" "$scratch/$bug.corpus"
        DRMQ_PLANT=$bug "$folder/fuzz-$target" -seed=1 -max_total_time=60 -artifact_prefix="$scratch/$bug/" \
                "$scratch/$bug.corpus" "tests/fuzz/corpus/$target" >"$scratch/log" 2>&1 || found=0
        tell "$found" "fuzz-$target finds the planted bug $bug"
        [ "$found" -eq 0 ] || sed 's/^/# /' "$scratch/log" | tail -n 5
        "$folder/fuzz-$target" "$scratch/$bug"/* >"$scratch/log" 2>&1 && harmless=0
        tell "$harmless" "what fuzz-$target died of is harmless without it"
}

echo 1..4
try frame frame-lengths
try segment trust-length
exit "$status"
