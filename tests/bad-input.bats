#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What bad input gets: a message that names the thing, the right exit status, and nothing lost.

load lib/drmq
topic=t$BATS_TEST_NUMBER

setup_file() { start_drmqd --set limits.idle=300ms; }
teardown_file() { stop_drmqd; }

# The daemon's options for a directory of its own.
drmqd_fails() { # STATUS OPTION...
        local expected=$1
        shift
        XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR run_timeout drmqd --node "bad-$$" --port 0 "$@"
        expect "$expected"
        prints ''
}

# ---- Messages ----

@test "a line over the limit is named; what came before is in the log" {
        { seq 2 && head -c 8400000 /dev/zero | tr '\0' x && printf '\nafter\n'; } >"$BATS_TEST_TMPDIR/in"
        run_timeout drmq-send "$topic" <"$BATS_TEST_TMPDIR/in"
        expect 7
        says 'Line 3: larger than a message may be, 8M'
        says '^drmq-send: 2 messages that came before are in the log$'
        all_of "$topic" | cmp - <(seq 2)
}

@test "a first line over the limit: nothing is in the log" {
        run_timeout bash -c "head -c 8400000 /dev/zero | tr '\\0' x | drmq-send $topic"
        expect 1
        says 'Line 1: larger than a message may be'
}

@test "a line that never ends is refused, not gathered" {
        run_timeout bash -c "tr '\\0' x </dev/zero | drmq-send $topic"
        expect 1
        says 'Line 1: larger than a message may be'
}

@test "a file over the limit is named" {
        head -c 8400000 /dev/zero >"$BATS_TEST_TMPDIR/large"
        echo small >"$BATS_TEST_TMPDIR/small"
        run_timeout drmq-send "$topic" --file "$BATS_TEST_TMPDIR"/{small,large}
        expect 7
        says "$BATS_TEST_TMPDIR/large: larger than a message may be"
        run_timeout drmq-send "$topic" --file "$BATS_TEST_TMPDIR/missing"
        expect 1
        says "Cannot read $BATS_TEST_TMPDIR/missing: No such file"
        run_timeout drmq-send "$topic" --file "$BATS_TEST_TMPDIR"
        expect 1
        says "Cannot read $BATS_TEST_TMPDIR: Is a directory"
}

@test "a length over the limit, and a stream that ends within a message" {
        run_timeout bash -c "printf '\\0\\0\\0\\1a\\377\\377\\377\\377' | drmq-send $topic --framed"
        expect 7
        says 'Message 2: larger than a message may be'
        run_timeout bash -c "printf '\\0\\0\\0\\5abc' | drmq-send $topic --framed"
        expect 1
        says 'Message 1: the input ends within it'
        run_timeout bash -c "printf '\\0\\0' | drmq-send $topic --framed"
        expect 1
        says 'Message 1: the input ends within it'
        [ "$(all_of "$topic")" = a ]
}

@test "JSON: what is wrong, and in which line" {
        refuses() { # LINE PATTERN
                run_timeout drmq-send "$topic" --json <<<"$1"
                expect 1
                says "^drmq-send: Line 1: .*$2"
        }
        refuses '{"value":"x"' 'invalid JSON at byte [0-9]+'
        refuses '{"value":"x"} {}' 'invalid JSON'
        refuses '[1]' 'not a JSON object'
        refuses '"text"' 'invalid JSON'
        refuses '{"key":"k"}' 'there is no "value"'
        refuses '{"value":1}' '"value" is neither a string nor null'
        refuses '{"value":"a","value_base64":"YQ=="}' 'exclude each other'
        refuses '{"value_base64":"?"}' '"value_base64" is not base64'
        refuses '{"value":"a","value":"b"}' 'duplicate'
        refuses '{"value":"a","topic":"a b"}' '"topic" is not a topic.s name'
        refuses '{"value":"a","topic":7}' '"topic" is not a topic.s name'
        refuses '{"value":"a","partition":-1}' '"partition" is not a number'
        refuses '{"value":"a","timestamp":"soon"}' '"timestamp" is neither'
        refuses '{"value":"a","headers":[]}' '"headers" is not an object'
        refuses '{"value":"a","headers":{"h":1}}' '"h" is neither a string nor null'
        refuses $'{"value":"\xff"}' 'invalid JSON'

        run_timeout drmq-send "$topic" --json <<<$'{"value":"1"}\n{"value":"2"}\nnonsense\n{"value":"4"}'
        expect 7
        says 'Line 3: invalid JSON'
        says '2 messages that came before are in the log'
        all_of "$topic" | cmp - <(seq 2)
}

@test "an unknown partition is refused" {
        drmqctl topics create "$topic" --partitions 2
        run_timeout drmq-send "$topic" --partition 2 message
        expect 1
        says 'partition 2'
        run_timeout drmq-recv "$topic" --partition 0,7 -e
        expect 1
        says 'partition 7'
}

@test "an unknown topic is named" {
        run_timeout drmq-recv "$topic" -e
        expect 1
        says "Topic $topic does not exist"
        run_timeout drmq-recv "$topic" -n 1
        expect 1
        says "Topic $topic does not exist"
        run_timeout drmqctl topics describe "$topic"
        expect 1
        says "$topic"
        run_timeout drmqctl topics delete "$topic" --yes
        expect 1
        says "$topic"
        run_timeout drmqctl offsets "$topic"
        expect 1
        says "$topic"
        run_timeout drmqctl topics alter "$topic" --partitions 2
        expect 1
        says "$topic"
}

@test "where topics are not made by themselves, a topic that is not there is refused" {
        start_drmqd_as strict --set topics.auto_create=no
        run_timeout drmq-send -b "unix:$(drmqd_dir strict)/socket" "$topic" message
        stop_drmqd strict
        expect 1
        says "$topic"
}

@test "an offset that is not there" {
        seq 3 | drmq-send "$topic"
        run_timeout drmq-recv "$topic" --from 99 -n 1
        expect 1
        says '99'
}

# ---- The directory, the port, the disk ----

@test "a directory that another daemon uses" {
        drmqd_fails 69 --data-dir "$(drmqd_dir)/data"
        says "$(drmqd_dir)/data.*another process"
}

@test "a directory that cannot be made, or is a file" {
        touch "$BATS_TEST_TMPDIR/file"
        drmqd_fails 73 --data-dir "$BATS_TEST_TMPDIR/file/data"
        says "$BATS_TEST_TMPDIR/file/data"
        XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR run_timeout drmqd --node "bad-$$" --port 0 --data-dir "$BATS_TEST_TMPDIR/file"
        [ "$status" -ne 0 ]
        says "$BATS_TEST_TMPDIR/file"
}

@test "a directory that may not be written" {
        mkdir "$BATS_TEST_TMPDIR/closed"
        if [ "$(id -u)" = 0 ]; then
                # Root may write everywhere, but to a file system that is mounted to be read.
                mount -t tmpfs -o ro none "$BATS_TEST_TMPDIR/closed" || skip "root may not mount here"
        else
                chmod 500 "$BATS_TEST_TMPDIR/closed"
        fi
        XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR run_timeout drmqd --node "bad-$$" --port 0 --data-dir "$BATS_TEST_TMPDIR/closed/data"
        [ "$(id -u)" != 0 ] || umount "$BATS_TEST_TMPDIR/closed"
        expect 77
        says "$BATS_TEST_TMPDIR/closed/data"
}

@test "a directory with foreign files" {
        mkdir "$BATS_TEST_TMPDIR/home"
        touch "$BATS_TEST_TMPDIR/home/letter"
        drmqd_fails 78 --data-dir "$BATS_TEST_TMPDIR/home"
        says "$BATS_TEST_TMPDIR/home"
        [ "$(ls -A "$BATS_TEST_TMPDIR/home")" = letter ]
}

# A whole node's directory, stopped, at $data.
make_directory() {
        start_drmqd_as "$topic"
        drmq-send -b "unix:$(drmqd_dir "$topic")/socket" topic message
        stop_drmqd "$topic"
        data=$(drmqd_dir "$topic")/data
}

@test "a directory of another node" {
        make_directory
        drmqd_fails 78 --data-dir "$data" --node-id 2
        says "$data belongs to node 1, not to node 2$"
}

@test "a directory of a newer format" {
        make_directory
        perl -e '
                open my $f, "+<:raw", $ARGV[0] or die;
                for my $copy (0, 1) {
                        seek $f, 4096 * $copy, 0;
                        read $f, my $block, 4096;
                        substr $block, 8, 4, pack "V", 2;
                        my $crc = 0xffffffff;
                        for my $byte (unpack "C*", substr $block, 4) {
                                $crc ^= $byte;
                                $crc = $crc >> 1 ^ ($crc & 1 ? 0x82f63b78 : 0) for 1 .. 8;
                        }
                        substr $block, 0, 4, pack "V", $crc ^ 0xffffffff;
                        seek $f, 4096 * $copy, 0;
                        print $f $block;
                }' "$data/node"
        drmqd_fails 78 --data-dir "$data"
        says "$data.*newer"
}

@test "a directory whose own records are bad: nothing is changed" {
        make_directory
        head -c 8192 /dev/zero | dd of="$data/node" conv=notrunc status=none
        before=$(find "$data" -type f -exec md5sum {} + | sort)
        drmqd_fails 65 --data-dir "$data"
        says "$data"
        [ "$(find "$data" -type f -exec md5sum {} + | sort)" = "$before" ]
}

@test "a port in use" {
        address=$(cat "$(drmqd_dir)/address")
        XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR run_timeout drmqd --node "bad-$$" --data-dir "$BATS_TEST_TMPDIR/data" --port "${address##*:}"
        expect 69
        says "$address"
}

@test "the daemon: wrong usage is 64" {
        drmqd_fails 64 --data-dir ''
        drmqd_fails 64 --port 70000
        drmqd_fails 64 --listen 'a b:c'
        drmqd_fails 64 --node 'a b'
        drmqd_fails 64 --set nonsense=1
        says 'nonsense'
        drmqd_fails 64 --set topics.partitions=many
        says 'topics\.partitions'
        drmqd_fails 64 argument
        says 'argument'
}

@test "a full disk refuses messages, serves what is there, and loses nothing" {
        [ "$(id -u)" = 0 ] || skip "only root may mount"
        mkdir -p "$(drmqd_dir full)/data"
        mount -t tmpfs -o size=40m none "$(drmqd_dir full)/data" || skip "root may not mount here"
        start_drmqd_as full --set log.segment_size=4M
        brokers=unix:$(drmqd_dir full)/socket
        run_timeout bash -c "yes $(printf '%01000d' 0) | head -n 60000 | drmq-send -b $brokers $topic --offsets --timeout 2s >$BATS_TEST_TMPDIR/offsets"
        # shellcheck disable=SC2154 # bats sets them
        sent_status=$status sent_stderr=$stderr
        n=$(wc -l <"$BATS_TEST_TMPDIR/offsets")
        kept=$(drmq-recv -b "$brokers" "$topic" -e | wc -l)
        stop_drmqd full
        umount "$(drmqd_dir full)/data"

        echo "status $sent_status, $n acknowledged, $kept kept: $sent_stderr" >&2
        [ "$sent_status" = 7 ]
        grep -qiE 'disk|space' <<<"$sent_stderr"
        [ "$n" -gt 0 ]
        [ "$kept" -ge "$n" ]
}

# ---- Strangers on the line ----

# What the node answers to bytes on stdin, until it closes the connection (perl closes only its writing side with
# HALF=1). Ends with 142 where it does not close within 10 seconds.
talk() {
        local address

        address=$(cat "$(drmqd_dir)/address")
        perl -MIO::Socket::INET -e '
                alarm 10;
                my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die;
                local $/; my $bytes = <STDIN>;
                $SIG{PIPE} = "IGNORE";
                syswrite $s, $bytes if length $bytes;
                my $answer;
                1 while sysread $s, $answer, 65536;' "$address"
}

still_serves() {
        drmqctl status >/dev/null
        drmq-send "$topic" well
        [ "$(all_of "$topic" | tail -n 1)" = well ]
}

@test "garbage closes that connection, and no other" {
        head -c 100000 /dev/urandom | talk
        printf 'GET / HTTP/1.0\r\n\r\n' | talk
        still_serves
}

@test "half a frame, and then nothing, is dropped at the idle limit" {
        printf 'DRMQ\1\1\0\0\45\0\0\0\5\0' | talk
        still_serves
}

@test "a frame of 4 GiB is refused by its length" {
        printf 'DRMQ\1\1\0\0\377\377\377\377\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' | talk
        still_serves
}

@test "a frame whose checksum is wrong closes the connection" {
        printf 'DRMQ\1\1\0\0\40\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' | talk
        still_serves
}

@test "a client that says nothing at all is dropped at the idle limit" {
        talk </dev/null
        still_serves
}

# Field 6 of a row begins with the timer that runs: 02 is keep-alive, where all is acknowledged (proc(5), /proc/net/tcp).
is_kept_alive() { # PORT
        awk -v local=":$(printf %04X "$1")" \
                'substr($2, length($2) - 4) == local && $4 == "01" && $6 ~ /^02:/ { found = 1 } END { exit !found }' /proc/net/tcp
}

@test "whether a client that rests is still there is asked by TCP" {
        address=$(cat "$(drmqd_dir)/address")
        exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
        wait_until is_kept_alive "${address##*:}"
        exec 7>&-
}

@test "a tool that follows in silence is not dropped" {
        drmq-send "$topic" first
        drmq-recv "$topic" -n 2 >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" &
        run_timeout drmq-recv "$topic" --idle 1s
        expect 0
        drmq-send "$topic" second
        wait $!
        cmp "$BATS_TEST_TMPDIR/out" <(printf 'first\nsecond\n')
        [ ! -s "$BATS_TEST_TMPDIR/err" ]
}

@test "a node that speaks something else is named" {
        perl -MIO::Socket::UNIX -e '
                my $s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 9) or die;
                alarm 60;
                while (my $c = $s->accept) { syswrite $c, "220 mail.example.org ESMTP\r\n" }' "$BATS_TEST_TMPDIR/other" 3>&- &
        perl=$!
        wait_until test -S "$BATS_TEST_TMPDIR/other"
        run_timeout drmqctl -b "unix:$BATS_TEST_TMPDIR/other" status
        kill $perl
        expect 1
        says "$BATS_TEST_TMPDIR/other"
}

# ---- Standard streams ----

@test "closed stdin and stdout are named, and nothing else is read or written for them" {
        run_timeout bash -c "drmq-send $topic <&-"
        expect 1
        says 'Cannot read input: Bad file descriptor'
        echo one | drmq-send "$topic"
        run_timeout bash -c "drmq-recv $topic -e --from beginning >&-"
        expect 7
        says 'Cannot write to stdout: Bad file descriptor'
        run_timeout bash -c "drmq-recv $topic -e --from beginning <&- >&- 2>&-"
        expect 7
        all_of "$topic" | cmp - <(echo one)
}

@test "past a bound of the node the message names its key" {
        start_drmqd_as small --set limits.partitions=2 --set limits.batch_size=1K
        DRMQ_BROKERS=unix:$(drmqd_dir small)/socket
        export DRMQ_BROKERS
        drmqctl topics create one
        run_timeout drmqctl topics create two --partitions 2
        expect 1
        says 'Cannot create two: there are as many partitions as the node may have \(limits.partitions\)'
        run_timeout drmqctl topics alter one --partitions 3
        expect 1
        says 'topic "one" 3 partitions: there are as many partitions as the node may have \(limits.partitions\)'
        drmqctl topics create two
        run_timeout drmq-send three message
        expect 1
        says 'topic "three": there are as many partitions as the node may have \(limits.partitions\)'
        run_timeout bash -c "head -c 3000 /dev/zero | tr '\\0' x | drmq-send one"
        expect 1
        says 'the batch is larger than the node takes \(limits.batch_size\)'
        stop_drmqd small
}

@test "topics of more partitions than one request makes: which were not made" {
        start_drmqd_as large
        run_timeout drmqctl -b "unix:$(drmqd_dir large)/socket" topics create many-{1..11} --partitions 10000
        expect 7
        says 'Cannot create many-11: too many partitions for one request; create fewer topics at a time'
        says '10 of 11 topics were created'
        stop_drmqd large
}
