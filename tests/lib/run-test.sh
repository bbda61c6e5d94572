#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run-test.sh TEST — what prove starts for each test: a bats suite, a script, a program, the replay of a fuzz corpus, or a
# fuzzer for $FUZZ_SECONDS or $FUZZ_RUNS. All of them print TAP. $DRMQ_TEST_WRAPPER (valgrind) goes before programs.
set -euo pipefail

test=$1
name=${test##*/}
read -ra wrapper <<<"${DRMQ_TEST_WRAPPER:-}"

case $name in
*.bats)
        exec bats --tap "$test"
        ;;
*.sh)
        exec bash "$test"
        ;;
replay-*)
        exec "${wrapper[@]}" "$test" "tests/fuzz/corpus/${name#replay-}"
        ;;
fuzz-*)
        # New inputs go to build/, the corpus in the tree is only read; what crashes stays beside them and is named.
        found=build/fuzz/found/${name#fuzz-}
        mkdir -p "$found" "$found.crash"
        echo 1..1
        length=(-max_total_time="${FUZZ_SECONDS:-10}")
        [ -z "${FUZZ_RUNS:-}" ] || length=(-runs="$FUZZ_RUNS")
        # Each of its runs makes a directory and recovers it: a thousandth of them.
        [ -z "${FUZZ_RUNS:-}" ] || [ "$name" != fuzz-recovery ] || length=(-runs="$((FUZZ_RUNS / 1000 + 1))")
        # Where more bytes are more of the same, and time goes with them.
        case $name in
        fuzz-config | fuzz-state) length+=(-max_len=1024) ;;
        fuzz-manifest) length+=(-max_len=4096) ;;
        esac
        if "$test" "${length[@]}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
                -artifact_prefix="$found.crash/" "$found" "tests/fuzz/corpus/${name#fuzz-}" >"$found.log" 2>&1; then
                echo "ok 1 - $name $(sed -n 's/^stat::number_of_executed_units: */runs=/p' "$found.log")"
        else
                tail -n 50 "$found.log" | sed 's/^/# /'
                echo "not ok 1 - $name"
                exit 1
        fi
        ;;
*)
        exec "${wrapper[@]}" "$test"
        ;;
esac
