#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# drmq-recv: where it begins, when it ends, what it prints, and whose position it keeps.

load lib/drmq
topic=t$BATS_TEST_NUMBER

setup_file() { start_drmqd; }
teardown_file() { stop_drmqd; }

# Starts drmq-recv on $topic behind the test's back: its output is $out, its pid $!.
follow() {
        out=$BATS_TEST_TMPDIR/out
        drmq-recv "$topic" "$@" >"$out" 2>"$BATS_TEST_TMPDIR/err" &
}

@test "from the beginning, to the end as it was" {
        seq 100 | drmq-send "$topic"
        run_timeout drmq-recv "$topic" -e
        expect 0
        prints "$(seq 100)"
        silent
}

@test "--from: beginning, end, an offset, the last ones" {
        seq 0 99 | drmq-send "$topic"
        all_of "$topic" --from beginning | cmp - <(seq 0 99)
        all_of "$topic" --from end | cmp - /dev/null
        all_of "$topic" --from 42 | cmp - <(seq 42 99)
        all_of "$topic" --from 100 | cmp - /dev/null
        all_of "$topic" --from -10 | cmp - <(seq 90 99)
        all_of "$topic" --from -1000 | cmp - <(seq 0 99)
}

@test "--from a time: what was appended since" {
        drmq-send "$topic" old
        now=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
        is_later() { [ "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)" != "$now" ]; }
        wait_until is_later
        now=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
        drmq-send "$topic" new
        [ "$(all_of "$topic" --from "$now")" = new ]
        [ "$(all_of "$topic" --from -1h | wc -l)" = 2 ]
        [ -z "$(all_of "$topic" --from 2100-01-01)" ]
}

@test "--from -N is so many of each partition" {
        drmqctl topics create "$topic" --partitions 2
        seq 10 | drmq-send "$topic" --partition 0
        seq 11 20 | drmq-send "$topic" --partition 1
        all_of "$topic" --from -2 | sort -n | cmp - <(printf '9\n10\n19\n20\n')
}

@test "--partition: only these" {
        drmqctl topics create "$topic" --partitions 3
        for p in 0 1 2; do drmq-send "$topic" --partition "$p" "in $p"; done
        [ "$(all_of "$topic" --partition 1)" = "in 1" ]
        all_of "$topic" --partition 0,2 | sort | cmp - <(printf 'in 0\nin 2\n')
        [ "$(all_of "$topic" | wc -l)" = 3 ]
}

@test "several topics at once" {
        drmq-send "$topic-a" 1
        drmq-send "$topic-b" 2
        drmq-recv "$topic-a" "$topic-b" -e -f '%t %v\n' | sort | cmp - <(printf '%s\n' "$topic-a 1" "$topic-b 2")
}

@test "-n: exits after so many" {
        seq 100 | drmq-send "$topic"
        run_timeout drmq-recv "$topic" -n 7
        expect 0
        prints "$(seq 7)"
}

@test "-n waits for what is still missing" {
        drmq-send "$topic" 1
        follow -n 2
        wait_until has_lines "$out" 1
        drmq-send "$topic" 2
        wait $!
        cmp "$out" <(seq 2)
}

@test "--idle: exits after silence" {
        seq 3 | drmq-send "$topic"
        run_timeout drmq-recv "$topic" --idle 100ms
        expect 0
        prints "$(seq 3)"
}

@test "--fail-if-empty: status 3 where nothing came" {
        drmqctl topics create "$topic"
        run_timeout drmq-recv "$topic" -e
        expect 0
        run_timeout drmq-recv "$topic" -e --fail-if-empty
        expect 3
        silent
        drmq-send "$topic" x
        run_timeout drmq-recv "$topic" -e --fail-if-empty
        expect 0
}

@test "follows: what is sent is printed at once" {
        drmq-send "$topic" first
        follow
        wait_until has_lines "$out" 1
        drmq-send "$topic" second
        wait_until has_lines "$out" 2
        kill -TERM $!
        wait $!
        cmp "$out" <(printf 'first\nsecond\n')
}

@test "follows a topic that is still to come, and says that it waits" {
        follow
        wait_until grep -q "Topic $topic does not exist; waiting for it" "$BATS_TEST_TMPDIR/err"
        drmq-send "$topic" x
        wait_until has_lines "$out" 1
        kill -INT $!
        wait $!
        [ "$(wc -l <"$BATS_TEST_TMPDIR/err")" = 1 ]
}

@test "reads on in partitions that are added" {
        drmqctl topics create "$topic" --partitions 1
        drmqctl topics alter "$topic" --partitions 2
        seq 2 | drmq-send "$topic" --partition 1
        [ "$(all_of "$topic" | wc -l)" = 2 ]
}

@test "-f: every directive and the escapes" {
        drmqctl topics create "$topic" --partitions 2
        drmq-send "$topic" --json <<<'{"key":"K","value":"V","partition":1,"timestamp":77,"headers":{"a":"1","b":"2"}}'
        all_of "$topic" -f '%t|%p|%o|%k|%v|%T|%h|%%\t\x41\n' | cmp - <(printf '%s|1|0|K|V|77|a=1,b=2|%%\tA\n' "$topic")
}

@test "-0 ends messages in NUL" {
        printf 'a\nb\0c\0' | drmq-send "$topic" -0
        all_of "$topic" -0 | cmp - <(printf 'a\nb\0c\0')
}

@test "--json is one object a line, base64 where it is no UTF-8" {
        printf 'text\n\xff\n' | drmq-send "$topic"
        all_of "$topic" --json >"$BATS_TEST_TMPDIR/out"
        [ "$(wc -l <"$BATS_TEST_TMPDIR/out")" = 2 ]
        jq -r '.value // .value_base64' "$BATS_TEST_TMPDIR/out" | diff - <(printf 'text\n/w==\n')
        [ "$(jq -r '.topic' "$BATS_TEST_TMPDIR/out" | sort -u)" = "$topic" ]
        [ "$(jq -r '(now * 1000 - .timestamp) < 60000' "$BATS_TEST_TMPDIR/out" | sort -u)" = true ]
}

@test "--single -g: goes on where it stopped" {
        seq 300 | drmq-send "$topic"
        drmq-recv "$topic" --single -g me -n 100 | cmp - <(seq 100)
        drmq-recv "$topic" --single -g me -n 100 | cmp - <(seq 101 200)
        drmq-recv "$topic" --single -g me -e | cmp - <(seq 201 300)
        drmq-recv "$topic" --single -g me -e | cmp - /dev/null
        drmq-recv "$topic" --single -g other -n 1 | cmp - <(seq 1)
}

@test "--single -g --from: begins there, and its position moves there" {
        seq 10 | drmq-send "$topic"
        drmq-recv "$topic" --single -g me -e >/dev/null
        drmq-recv "$topic" --single -g me --from 3 -n 2 | cmp - <(seq 4 5)
        drmq-recv "$topic" --single -g me -e | cmp - <(seq 6 10)
}

@test "--single -g: the position of a follower is committed in time, and at its end" {
        seq 10 | drmq-send "$topic"
        follow --single -g me --commit-interval 50ms
        wait_until has_lines "$out" 10
        is_committed() { [ -z "$(drmq-recv "$topic" --single -g me -e)" ]; }
        wait_until is_committed

        drmq-send "$topic" 11
        wait_until has_lines "$out" 11
        kill -TERM $!
        wait $!
        is_committed

        follow --single -g me --commit-interval 1h
        drmq-send "$topic" 12
        wait_until has_lines "$out" 1
        kill -TERM $!
        wait $!
        is_committed
}

@test "a position is not committed behind what the reader took" {
        seq 100000 | drmq-send "$topic"
        run_timeout bash -c "set -o pipefail; drmq-recv $topic --single -g me -e | head -n 1"
        expect 0
        prints 1
        silent
        run_timeout drmq-recv "$topic" --single -g me -n 1
        prints 1
}

@test "a position is not committed before the output is written, however often it is committed" {
        yes x | head -n 200000 | drmq-send "$topic"
        run_timeout bash -c "drmq-recv $topic --single -g me --commit-interval 1us -e >/dev/full"
        [ "$status" -ne 0 ]
        run_timeout drmq-recv "$topic" --single -g me -n 1 -f '%o'
        prints 0
}

@test "a reader that goes ends it quietly" {
        seq 100000 | drmq-send "$topic"
        run_timeout bash -c "set -o pipefail; drmq-recv $topic -e | head -n 1"
        expect 0
        prints 1
        silent
}

@test "a reader that goes ends it, also while nothing comes" {
        drmq-send "$topic" only
        run_timeout bash -c "set -o pipefail; drmq-recv $topic | head -n 1"
        expect 0
        prints only
        silent
}

@test "output that cannot be written is an error" {
        seq 1000 | drmq-send "$topic"
        run_timeout bash -c "drmq-recv $topic -e >/dev/full"
        [ "$status" -ne 0 ]
        says 'Cannot write to stdout: No space left on device'
}

@test "--progress: the sums are on stderr" {
        seq 1000 | drmq-send "$topic"
        run_timeout drmq-recv "$topic" -e --progress
        expect 0
        prints "$(seq 1000)"
        says '^1000 messages, 2\.8K'
}

@test "large messages, and many" {
        head -c 8000000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/large"
        drmq-send "$topic" --file "$BATS_TEST_TMPDIR/large" "$BATS_TEST_TMPDIR/large"
        seq 200000 | drmq-send "$topic"
        all_of "$topic" -n 1 -f %v | cmp - "$BATS_TEST_TMPDIR/large"
        all_of "$topic" --from 2 | cmp - <(seq 200000)
}

@test "what retention took is said, and how to go on" {
        start_drmqd_as "$topic" --set log.segment_size=1M --set log.max_bytes=3M
        export DRMQ_BROKERS=unix:$BATS_FILE_TMPDIR/$topic/socket
        seq 10 | drmq-send "$topic"
        [ "$(drmq-recv "$topic" --single -g g -n 3 | tail -n 1)" = 3 ]
        seq -f '%0.0f padded' 8000 | awk '{ printf "%s %01000d\n", $0, 0 }' | drmq-send "$topic"
        first() { drmqctl offsets "$topic" --at beginning --json | sed 's/.*"offset":\([0-9]*\).*/\1/'; }
        is_gone() { [ "$(first)" -gt 4000 ]; }
        wait_until is_gone

        run_timeout drmq-recv "$topic" --single -g g -n 1
        expect 1
        says "$topic/0: the group's position 3 is gone, the first is $(first) and the next to come 8010"
        says "name a place: --from beginning"
        [ -z "$output" ]

        run_timeout drmq-recv "$topic" --from 100 -n 1
        expect 1
        says "offset 100 is gone, the first is $(first) and"
        run_timeout drmq-recv "$topic" --from 8011 -n 1
        expect 1
        says "offset 8011 is not there yet"

        # What is there is read, and the group goes on.
        first=$(first)
        [ "$(all_of "$topic" | wc -l)" = $((8010 - first)) ]
        run_timeout drmq-recv "$topic" --single -g g --from beginning -n 2 -f '%o\n'
        expect 0
        prints "$first
$((first + 1))"
        [ "$(drmq-recv "$topic" --single -g g -n 1 -f %o)" = $((first + 2)) ]
        [ "$(drmq-recv "$topic" --from -1h -n 1 -f %o)" = "$first" ]
        stop_drmqd "$topic"
}
