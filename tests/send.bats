#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# drmq-send: what it reads, what it makes of it, and what it says when.

load lib/drmq
topic=t$BATS_TEST_NUMBER

setup_file() { start_drmqd; }
teardown_file() { stop_drmqd; }

@test "each line is a message, in order" {
        seq 10000 | drmq-send "$topic"
        all_of "$topic" | cmp - <(seq 10000)
}

@test "a last line without its end is a message, empty lines are too" {
        printf 'a\n\n\nb' | drmq-send "$topic"
        all_of "$topic" -f '<%v>' | cmp - <(printf '<a><><><b>')
}

@test "no input is no message, and no topic" {
        drmq-send "$topic" </dev/null
        run_timeout drmqctl topics describe "$topic"
        expect 1
}

@test "a NUL and other bytes in a line are data" {
        printf 'a\0b\xff\x80c\r\n' | drmq-send "$topic"
        all_of "$topic" | cmp - <(printf 'a\0b\xff\x80c\r\n')
}

@test "-0: messages end in NUL, and may hold newlines" {
        printf 'a\nb\0c\0' | drmq-send "$topic" -0
        all_of "$topic" -0 | cmp - <(printf 'a\nb\0c\0')
}

@test "-D: any delimiter, with escapes" {
        printf 'a;b;;c;;;d' | drmq-send "$topic" -D ';;'
        all_of "$topic" -f '<%v>' | cmp - <(printf '<a;b><c><;d>')
        printf 'x\ty' | drmq-send "$topic-tab" -D '\t'
        all_of "$topic-tab" | cmp - <(printf 'x\ny\n')
}

@test "a delimiter that two reads share is found" {
        mkfifo "$BATS_TEST_TMPDIR/in"
        drmq-send "$topic" -D 'abc' --offsets <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/offsets" &
        exec 5>"$BATS_TEST_TMPDIR/in"
        printf '1abc2ab' >&5
        wait_until has_lines "$BATS_TEST_TMPDIR/offsets" 1
        printf 'c3' >&5
        exec 5>&-
        wait $!
        all_of "$topic" | cmp - <(printf '1\n2\n3\n')
}

@test "arguments are messages" {
        drmq-send "$topic" one '' 'two words'
        all_of "$topic" -f '<%v>' | cmp - <(printf '<one><><two words>')
}

@test "--file: each file is a message, byte for byte" {
        head -c 300000 /dev/urandom >"$BATS_TEST_TMPDIR/one"
        printf 'no end' >"$BATS_TEST_TMPDIR/two"
        : >"$BATS_TEST_TMPDIR/empty"
        drmq-send "$topic" --file "$BATS_TEST_TMPDIR"/{one,two,empty}
        all_of "$topic" -n 1 -f %v | cmp - "$BATS_TEST_TMPDIR/one"
        all_of "$topic" --from 1 -f '<%v>' | cmp - <(printf '<no end><>')
}

@test "--framed: lengths before messages, both ways" {
        { printf '\0\0\0\3a\nb\0\0\0\0\0\0\1\54' && head -c 300 /dev/urandom; } >"$BATS_TEST_TMPDIR/framed"
        drmq-send "$topic" --framed <"$BATS_TEST_TMPDIR/framed"
        all_of "$topic" --framed | cmp - "$BATS_TEST_TMPDIR/framed"
}

@test "--json: members become parts of the message" {
        drmq-send "$topic" --json <<-END
                {"value":"v","key":"k","headers":{"a":"1","b":null,"c":["x","y"]},"timestamp":1234}

                {"value":null,"key_base64":"/wA=","offset":99,"timestamp":"2026-11-20T10:00:00Z"}
                {"value_base64":"AP8=","headers":{"bin":{"base64":"/w=="}}}
                {"value":"\u0000\"\\\\ä\n"}
	END
        all_of "$topic" --json | jq -c 'del(.topic, .partition) | if .offset > 1 then del(.timestamp) else . end' >"$BATS_TEST_TMPDIR/out"
        diff "$BATS_TEST_TMPDIR/out" - <<-'END'
	{"offset":0,"timestamp":1234,"key":"k","value":"v","headers":{"a":"1","b":null,"c":["x","y"]}}
	{"offset":1,"timestamp":1795168800000,"key_base64":"/wA=","value":null}
	{"offset":2,"value_base64":"AP8=","headers":{"bin":{"base64":"/w=="}}}
	{"offset":3,"value":"\u0000\"\\ä\n"}
	END
}

@test "--json: topic and partition of the object win" {
        drmqctl topics create "$topic-2" --partitions 4
        drmq-send "$topic" --json --partition 0 <<<"{\"topic\":\"$topic-2\",\"partition\":3,\"value\":\"x\"}"
        [ "$(all_of "$topic-2" -f '%t %p %v')" = "$topic-2 3 x" ]
}

@test "what drmq-recv --json writes, drmq-send --json reads" {
        printf 'k1:v1\n\xff:\xfe\nplain\n' | drmq-send "$topic" -K : -H a=1 -H a=2 -H b=
        all_of "$topic" --json >"$BATS_TEST_TMPDIR/first"
        jq -c ".topic = \"$topic-copy\"" <"$BATS_TEST_TMPDIR/first" | drmq-send "$topic" --json
        all_of "$topic-copy" --json | jq -c ".topic = \"$topic\"" | diff - <(jq -c . "$BATS_TEST_TMPDIR/first")
}

@test "-k and -H go with every message" {
        drmq-send "$topic" -k key -H a=1 -H b=x=y one two
        [ "$(all_of "$topic" -f '%k %h %v;')" = "key a=1,b=x=y one;key a=1,b=x=y two;" ]
}

@test "-K: the key stands before the first separator; without one there is none" {
        printf 'a::b::c\nd\n::e\n' | drmq-send "$topic" -K ::
        all_of "$topic" --json | jq -c '[.key, .value]' | diff - <(printf '["a","b::c"]\n[null,"d"]\n["","e"]\n')
}

@test "--partition, and keys by each rule" {
        drmqctl topics create "$topic" --partitions 8
        drmq-send "$topic" --partition 5 here
        [ "$(all_of "$topic" -f '%p')" = 5 ]

        # Kafka's own test says that murmur2("21") is -973932308; gzip ends with the CRC-32 of what it packed.
        drmq-send "$topic" -k 21 m
        drmq-send "$topic" -k 21 --partitioner crc32 c
        expected=$(((-973932308 & 0x7fffffff) % 8))
        [ "$(all_of "$topic" -f '%p %v\n' | sed -n 's/ m$//p')" = "$expected" ]
        expected=$(($(printf 21 | gzip -c | tail -c 8 | od -An -tu4 -N4) % 8))
        [ "$(all_of "$topic" -f '%p %v\n' | sed -n 's/ c$//p')" = "$expected" ]
}

@test "--partitioner round-robin takes partitions in turn, keys or not" {
        drmqctl topics create "$topic" --partitions 4
        seq 40 | drmq-send "$topic" -k same --partitioner round-robin --batch 1K --linger 0
        printf '%01000d\n' {1..40} | drmq-send "$topic" -k same --partitioner round-robin --batch 1K
        [ "$(all_of "$topic" -f '%p\n' | sort -u | wc -l)" = 4 ]
}

@test "-z: every codec comes back as it went" {
        for codec in none gzip snappy lz4 zstd; do
                seq 20000 | drmq-send "$topic-$codec" -z "$codec"
                all_of "$topic-$codec" | cmp - <(seq 20000)
        done
        bytes() { drmqctl topics describe "$1" --json | jq .bytes; }
        for codec in gzip snappy lz4 zstd; do
                [ "$(bytes "$topic-$codec")" -lt "$(bytes "$topic-none")" ]
        done
}

@test "--acks: each kind arrives" {
        for acks in all leader none; do
                seq 1000 | drmq-send "$topic-$acks" --acks "$acks"
        done
        for acks in all leader; do
                all_of "$topic-$acks" | cmp - <(seq 1000)
        done
        arrived() { [ "$(all_of "$topic-none" 2>/dev/null | wc -l)" = 1000 ]; }
        wait_until arrived
}

@test "--offsets: topic, partition and offset of each, in order" {
        drmqctl topics create "$topic" --partitions 2
        seq 3 | drmq-send "$topic" --partition 1 --offsets >"$BATS_TEST_TMPDIR/offsets"
        diff "$BATS_TEST_TMPDIR/offsets" <(printf "$topic\t1\t%d\n" 0 1 2)
}

@test "what stands still in the pipe is sent, and its offset printed, before the end" {
        mkfifo "$BATS_TEST_TMPDIR/in"
        drmq-send "$topic" --offsets <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/offsets" &
        exec 5>"$BATS_TEST_TMPDIR/in"
        echo first >&5
        wait_until has_lines "$BATS_TEST_TMPDIR/offsets" 1
        [ "$(all_of "$topic")" = first ]
        echo second >&5
        wait_until has_lines "$BATS_TEST_TMPDIR/offsets" 2
        exec 5>&-
        wait $!
}

@test "--linger holds messages back until it has passed, or the input ends" {
        mkfifo "$BATS_TEST_TMPDIR/in"
        drmq-send "$topic" --linger 1h --offsets <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/offsets" &
        exec 5>"$BATS_TEST_TMPDIR/in"
        seq 10 >&5
        run_timeout drmq-recv "$topic" --idle 200ms
        prints ''
        exec 5>&-
        wait $!
        [ "$(wc -l <"$BATS_TEST_TMPDIR/offsets")" = 10 ]
}

@test "--rate: no more than so many a second" {
        before=${EPOCHREALTIME/./}
        seq 21 | drmq-send "$topic" --rate 100
        [ $((${EPOCHREALTIME/./} - before)) -ge 200000 ]
        all_of "$topic" | cmp - <(seq 21)
}

@test "--atomic: topics together, or nothing of it" {
        drmq-send "$topic" --json --atomic <<-END
		{"topic":"$topic-a","value":"1"}
		{"topic":"$topic-b","value":"2"}
	END
        [ "$(all_of "$topic-a")" = 1 ]
        [ "$(all_of "$topic-b")" = 2 ]

        run_timeout drmq-send "$topic-a" --json --atomic <<<$'{"value":"3"}\nnonsense'
        expect 1
        says 'Line 2: invalid JSON'
        says 'Nothing was sent'
        [ "$(all_of "$topic-a")" = 1 ]
}

@test "--atomic: what does not fit one request is refused whole" {
        run_timeout bash -c "yes $(printf '%01000d' 0) | head -n 20000 | drmq-send $topic --atomic"
        expect 1
        says 'Nothing was sent'
        run_timeout drmq-recv "$topic" -e
        prints ''
}

@test "--progress: the sums are on stderr" {
        run_timeout bash -c "seq 1000 | drmq-send $topic --progress"
        expect 0
        prints ''
        says '^1000 messages, 2\.8K, [0-9.]+s, .*/s'
}

@test "without --progress nothing is said" {
        run_timeout bash -c "seq 1000 | drmq-send $topic"
        expect 0
        prints ''
        silent
}

@test "SIGTERM: whole lines are sent, the sums are shown, the status is 0" {
        mkfifo "$BATS_TEST_TMPDIR/in"
        drmq-send "$topic" --progress <"$BATS_TEST_TMPDIR/in" 2>"$BATS_TEST_TMPDIR/err" &
        exec 5>"$BATS_TEST_TMPDIR/in"
        printf 'one\ntwo\nhal' >&5
        arrived() { [ "$(all_of "$topic" 2>/dev/null | wc -l)" = 2 ]; }
        wait_until arrived
        kill -TERM $!
        wait $!
        exec 5>&-
        grep -q '^2 messages' "$BATS_TEST_TMPDIR/err"
        all_of "$topic" | cmp - <(printf 'one\ntwo\n')
}

@test "a reader of --offsets that goes ends it quietly" {
        run_timeout bash -c "set -o pipefail; yes | drmq-send $topic --offsets | head -n 1"
        expect 1
        prints "$topic"$'\t0\t0'
        silent
}

@test "a stream over TCP" {
        seq 1000 | drmq-send -b "$(cat "$(drmqd_dir)/address")" "$topic"
        drmq-recv -b "$(cat "$(drmqd_dir)/address")" "$topic" -e | cmp - <(seq 1000)
}

@test "--offsets that cannot be written: the account says how many are in the log" {
        run_timeout bash -c "seq 10 | drmq-send $topic --offsets >/dev/full"
        expect 7
        says 'Cannot write to stdout'
        says '10 messages that came before are in the log'
        all_of "$topic" | cmp - <(seq 10)
}
