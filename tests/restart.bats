#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The daemon goes and comes back: what it leaves, what it finds, and what tools that were at work notice of it.

load lib/drmq
topic=t$BATS_TEST_NUMBER

# Each test has a daemon of its own.
setup() {
        [ -p "$BATS_FILE_TMPDIR/pause" ] || mkfifo "$BATS_FILE_TMPDIR/pause"
        node=$topic
        export DRMQ_BROKERS=unix:$BATS_FILE_TMPDIR/$topic/socket
        start_drmqd_as "$node"
}

teardown() {
        stop_drmqd "$node"
}

replayed() {
        drmqctl status --json | jq '[.shards[].replayed_entries] | add'
}

# The exit status of the daemon, which its shell writes down.
run_daemon_to_its_end() {
        XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR
        export XDG_RUNTIME_DIR
        run_timeout bash -c "
                drmqd --node end-$topic-$$ --data-dir '$BATS_TEST_TMPDIR/data' --listen 'unix:$BATS_TEST_TMPDIR/socket' &
                pid=\$!
                export DRMQ_BROKERS=unix:$BATS_TEST_TMPDIR/socket
                until drmqctl status >/dev/null 2>&1; do :; done
                $1
                kill -$2 \$pid
                wait \$pid"
}

@test "SIGTERM: exits 0, and the next start replays nothing" {
        seq 1000 | drmq-send "$topic"
        stop_drmqd "$node"
        start_drmqd_as "$node"
        [ "$(replayed)" = 0 ]
        all_of "$topic" | cmp - <(seq 1000)
        seq 1001 2000 | drmq-send "$topic"
        all_of "$topic" | cmp - <(seq 2000)

        for signal in TERM INT; do
                run_daemon_to_its_end "drmq-send topic message" "$signal"
                expect 0
                [ ! -e "$BATS_TEST_TMPDIR/socket" ]
        done
}

@test "kill -9: the next start replays, and all is there" {
        seq 5000 | drmq-send "$topic"
        stop_drmqd "$node" KILL
        start_drmqd_as "$node"
        [ "$(replayed)" -gt 0 ]
        all_of "$topic" | cmp - <(seq 5000)
        drmqctl status
}

@test "positions, topics and their partitions outlive a restart and a kill" {
        drmqctl topics create "$topic" --partitions 3
        seq 30 | drmq-send "$topic" --partition 1
        drmq-recv "$topic" --single -g me -n 10 | cmp - <(seq 10)
        before=$(drmqctl topics describe "$topic" --json)
        for signal in TERM KILL; do
                stop_drmqd "$node" "$signal"
                start_drmqd_as "$node"
                [ "$(drmqctl topics describe "$topic" --json)" = "$before" ]
        done
        drmq-recv "$topic" --single -g me -n 10 | cmp - <(seq 11 20)
}

@test "the node is the same after a restart" {
        before=$(drmqctl status --json | jq -c '[.node_id, .cluster_id, .incarnation]')
        stop_drmqd "$node"
        start_drmqd_as "$node"
        [ "$(drmqctl status --json | jq -c '[.node_id, .cluster_id, .incarnation]')" = "$before" ]
}

@test "kill -9 in mid-send: drmq-send goes on, and each message is there once" {
        seq 200000 | drmq-send "$topic" --rate 100000 --offsets >"$BATS_TEST_TMPDIR/offsets" 2>"$BATS_TEST_TMPDIR/err" &
        sender=$!
        for n in 1000 20000 60000; do
                wait_until has_lines "$BATS_TEST_TMPDIR/offsets" "$n"
                stop_drmqd "$node" KILL
                start_drmqd_as "$node"
        done
        wait $sender
        [ "$(wc -l <"$BATS_TEST_TMPDIR/offsets")" = 200000 ]
        [ ! -s "$BATS_TEST_TMPDIR/err" ]
        all_of "$topic" | cmp - <(seq 200000)
}

@test "SIGTERM in mid-send: nothing is lost either" {
        seq 100000 | drmq-send "$topic" --rate 100000 --offsets >"$BATS_TEST_TMPDIR/offsets" &
        sender=$!
        wait_until has_lines "$BATS_TEST_TMPDIR/offsets" 10000
        stop_drmqd "$node"
        start_drmqd_as "$node"
        wait $sender
        all_of "$topic" | cmp - <(seq 100000)
}

@test "a daemon that does not come back: drmq-send says how many are in the log" {
        seq 1000000 | drmq-send "$topic" --rate 100000 --offsets --timeout 1s >"$BATS_TEST_TMPDIR/offsets" 2>"$BATS_TEST_TMPDIR/err" &
        sender=$!
        wait_until has_lines "$BATS_TEST_TMPDIR/offsets" 1000
        stop_drmqd "$node" KILL
        status=0
        wait $sender || status=$?
        [ "$status" = 7 ]

        acknowledged=$(wc -l <"$BATS_TEST_TMPDIR/offsets")
        grep -q "drmq-send: $acknowledged of [0-9]* messages are in the log" "$BATS_TEST_TMPDIR/err"
        start_drmqd_as "$node"
        all_of "$topic" >"$BATS_TEST_TMPDIR/all"
        n=$(wc -l <"$BATS_TEST_TMPDIR/all")
        [ "$n" -ge "$acknowledged" ]
        cmp "$BATS_TEST_TMPDIR/all" <(seq "$n")
}

@test "a daemon that comes and goes: drmq-recv follows on, each message once" {
        seq 10 | drmq-send "$topic"
        drmq-recv "$topic" -n 30 >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" &
        receiver=$!
        wait_until has_lines "$BATS_TEST_TMPDIR/out" 10
        stop_drmqd "$node"
        start_drmqd_as "$node"
        seq 11 20 | drmq-send "$topic"
        wait_until has_lines "$BATS_TEST_TMPDIR/out" 20
        stop_drmqd "$node" KILL
        start_drmqd_as "$node"
        seq 21 30 | drmq-send "$topic"
        wait $receiver
        cmp "$BATS_TEST_TMPDIR/out" <(seq 30)
        [ ! -s "$BATS_TEST_TMPDIR/err" ]
}

@test "damage in the log is named, not served; all around it is" {
        for i in 1 2 3; do
                seq "$((i * 1000 - 999))" "$((i * 1000))" | drmq-send "$topic" --batch 8M --linger 1s
        done
        stop_drmqd "$node"
        log=$(ls "$(drmqd_dir "$node")"/data/shard-1/*.log | head -n 1)
        # A byte in the values of the second batch: the only place with these digits.
        place=$(grep -aobF 1500 "$log" | head -n 1)
        printf X | dd of="$log" bs=1 seek="${place%%:*}" conv=notrunc status=none
        start_drmqd_as "$node"

        run_timeout drmq-recv "$topic" -e
        expect 7
        says 'Damaged: .*1000'
        says '2000 messages were received, 1 damaged places were passed over'
        prints "$(seq 1000; seq 2001 3000)"
        run_timeout drmqctl status
        expect 1
        grep -q 'degraded' <<<"$output"
}
