#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Ten thousand clients at a time, over real sockets: all of them stand, the node answers others, holds little memory for them,
# and gives it back when they have gone.

load lib/drmq
topic=t$BATS_TEST_NUMBER
crowd=10000

setup_file() {
        ulimit -n "$(ulimit -H -n)"
        [ "$(ulimit -n)" -ge 12000 ] || skip "12,000 descriptors are not allowed here (ulimit -n)"
        start_drmqd
}
teardown_file() { stop_drmqd; }

hostile() { # WHAT [ARGUMENT]...
        timeout 300 "$BATS_TEST_DIRNAME/lib/hostile.pl" "$(cat "$(drmqd_dir)/address")" "$@"
}

metric() {
        drmqctl metrics | awk -v name="$1" '$1 == name { print $2 }'
}

resident_mib() {
        awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$(cat "$(drmqd_dir)/pid")/status"
}

wait_long() { # COMMAND... — as wait_until, but two minutes
        local deadline=$((SECONDS + 120))

        until "$@"; do
                [ "$SECONDS" -lt "$deadline" ]
                pause
        done
}

# crowd_comes HOW [ARGUMENT]...
crowd_comes() {
        mkfifo "$BATS_TEST_TMPDIR/crowd"
        hostile crowd "$@" <"$BATS_TEST_TMPDIR/crowd" >"$BATS_TEST_TMPDIR/out" 3>&- &
        client=$!
        exec {hold}>"$BATS_TEST_TMPDIR/crowd"
        wait_long has_lines "$BATS_TEST_TMPDIR/out" 1
}

# All of them are still there; then they go.
crowd_goes() {
        echo >&"$hold"
        exec {hold}>&-
        wait "$client"
        grep -qx "stood $1" "$BATS_TEST_TMPDIR/out"
        is_alone
}

is_alone() {
        wait_long eval '[ "$(metric drmq_connections)" = 1 ]'
}

# It answers others meanwhile; what it holds is below a generous bound.
node_works() { # MIB
        seq 1000 | drmq-send "$topic"
        [ "$(all_of "$topic" | tail -n 1)" = 1000 ]
        drmqctl status >/dev/null
        echo "# $BATS_TEST_DESCRIPTION: $(resident_mib) MiB resident" >&3
        [ "$(resident_mib)" -lt "$1" ]
}

# What an idle node has, and what the allocator may keep.
memory_is_back() { # MIB
        wait_long eval "[ \$(resident_mib) -lt $1 ]"
        echo "# when they have gone: $(resident_mib) MiB" >&3
}

@test "idle connections" {
        crowd_comes $((crowd - 10)) idle
        node_works 150
        crowd_goes $((crowd - 10))
        memory_is_back 40
}

@test "long polls" {
        drmqctl topics create quiet
        id=$(drmqctl topics describe quiet --json | jq '[.. | objects | .id? // empty] | first')
        crowd_comes $((crowd - 10)) polls "$id"
        [ "$(metric drmq_polls_used_bytes)" -gt 100000 ]
        node_works 200
        crowd_goes $((crowd - 10))
        [ "$(metric drmq_polls_used_bytes)" = 0 ]
        memory_is_back 40
}

@test "half frames, until their time is up" {
        crowd_comes $((crowd - 10)) halves
        node_works 200
        is_alone # 30 s
        [ "$(metric drmq_partial_requests_used_bytes)" -le 65536 ] # of the one that asks
        memory_is_back 40
        exec {hold}>&-
        wait "$client" || true
}

@test "number 10,001 is refused; that is counted, and told of once" {
        refused=$(metric drmq_connections_refused_total)
        crowd_comes $((crowd - 10)) idle
        [ "$(hostile extra 110 1)" = 'refused 100' ]
        crowd_goes $((crowd - 10))
        [ $(($(metric drmq_connections_refused_total) - refused)) -eq 100 ]
        [ "$(grep -c 'connections were refused: there are 10000 already' "$(drmqd_dir)/log")" -eq 1 ]
}

@test "readers of half a gigabyte" {
        head -c 100000000 /dev/zero | tr '\0' x | fold -w 1000 | drmq-send "$topic"
        for i in 1 2 3 4 5; do
                all_of "$topic" >"$BATS_TEST_TMPDIR/read.$i" 3>&- &
                readers[i]=$!
        done
        for i in 1 2 3 4 5; do
                wait "${readers[i]}"
                [ "$(wc -c <"$BATS_TEST_TMPDIR/read.$i")" -eq 100100000 ]
                rm "$BATS_TEST_TMPDIR/read.$i"
        done
        is_alone
        memory_is_back 40
}

@test "large requests of several senders" {
        # A node of its own: what crowds left free in the heap of the other hides how much comes back.
        stop_drmqd
        start_drmqd
        head -c 15000000 /dev/urandom | base64 -w 7000000 >"$BATS_TEST_TMPDIR/in"
        for i in 1 2 3 4; do
                drmq-send "$topic" <"$BATS_TEST_TMPDIR/in" 3>&- &
                senders[i]=$!
        done
        wait "${senders[@]}"
        awk '/^VmHWM/ { exit $2 < 30 * 1024 }' "/proc/$(cat "$(drmqd_dir)/pid")/status" # there was a peak
        is_alone
        memory_is_back 30
}
