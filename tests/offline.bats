#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A node's directory without its daemon: drmq-recv --dir, and drmqctl log dump, verify, salvage, accept-loss.

load lib/drmq
topic=t$BATS_TEST_NUMBER

setup_file() {
        start_drmqd --set log.segment_size=1M
        export DATA=$BATS_FILE_TMPDIR/d/data
}
teardown_file() { stop_drmqd; }

setup() {
        cd "$BATS_TEST_TMPDIR" || return
}

# What --dir has of a topic is what was sent: a commit is named at the latest 10 ms after the last write.
dir_has() { # N
        [ "$(drmq-recv --dir "$DATA" "$topic" -e | wc -l)" -eq "$1" ]
}

# Overwrites bytes of a file with others: each is another one than it was.
spoil() { # FILE POSITION N
        perl -e 'open F, "+<", $ARGV[0]; seek F, $ARGV[1], 0; read F, $_, $ARGV[2]; s/(.)/chr(255 - ord $1)/egs;
                seek F, $ARGV[1], 0; print F' "$1" "$2" "$3"
}

# The folder "data", of a node that was stopped: $1 numbers in "numbers", ten lines in "others".
make_node() {
        local dir
        dir=$(drmqd_dir "own-$BATS_TEST_NUMBER")
        start_drmqd_as "own-$BATS_TEST_NUMBER"
        seq "$1" | drmq-send -b "unix:$dir/socket" numbers
        seq 10 | drmq-send -b "unix:$dir/socket" others -H h=v
        stop_drmqd "own-$BATS_TEST_NUMBER" "${2:-TERM}"
        mv "$dir/data" data
}

# Starts a daemon on "data" again; $DRMQ_BROKERS is its socket.
serve() {
        local dir
        dir=$(drmqd_dir "own-$BATS_TEST_NUMBER")
        mv data "$dir/data"
        start_drmqd_as "own-$BATS_TEST_NUMBER"
        export DRMQ_BROKERS=unix:$dir/socket
}

@test "--dir beside the daemon prints what drmq-recv prints" {
        seq 1000 | sed 's/.*/key&:value &/' | drmq-send "$topic" -K : -H a=b -z zstd
        wait_until dir_has 1000
        for form in "" -0 --json --framed "-f%t%p%o%k%v%T%h\n"; do
                # shellcheck disable=SC2086
                cmp <(drmq-recv --dir "$DATA" "$topic" -e $form) <(drmq-recv "$topic" -e $form)
        done
        drmq-recv --dir "$DATA" "$topic" --from -10 -e | cmp - <(drmq-recv "$topic" --from -10 -e)
        drmq-recv --dir "$DATA" "$topic" --from 990 -e | cmp - <(drmq-recv "$topic" --from 990 -e)
        drmq-recv --dir "$DATA" "$topic" --from -1h -n 5 | cmp - <(drmq-recv "$topic" --from -1h -n 5)
        drmq-recv --dir "$DATA" "$topic" --from end -e | cmp - /dev/null
        run_timeout drmq-recv --dir "$DATA" "$topic" --from end -e --fail-if-empty
        expect 3
        run_timeout drmq-recv --dir "$DATA" "$topic" --from 2000 -e
        expect 1
        says 'has no offset 2000: it has 0 to 1000'
}

@test "partitions: only these" {
        drmqctl topics create "$topic" --partitions 3
        for p in 0 1 2; do seq $((p * 100 + 1)) $((p * 100 + 100)) | drmq-send "$topic" --partition "$p"; done
        wait_until dir_has 300
        drmq-recv --dir "$DATA" "$topic" --partition 1 -e | cmp - <(seq 101 200)
        drmq-recv --dir "$DATA" "$topic" --partition 0,2 -e | sort -n | cmp - <(seq 100; seq 201 300)
        run_timeout drmq-recv --dir "$DATA" "$topic" --partition 3 -e
        expect 1
        says 'has no partition 3'
        run_timeout drmq-recv --dir "$DATA" "$topic" --from 5 -e
        expect 2
        says 'needs --partition'
}

@test "it follows a log that grows, rolls, and gets its topic only then" {
        drmq-recv --dir "$DATA" "$topic" >out 2>err 3>&- &
        reader=$!
        wait_until grep -q 'waiting for it' err
        for i in 1 2 3; do
                seq -f "%0100.0f" $(((i - 1) * 10000 + 1)) $((i * 10000)) | drmq-send "$topic"
                wait_until has_lines out $((i * 10000))
        done
        kill "$reader"
        wait "$reader"
        seq -f "%0100.0f" 30000 | cmp - out
        [ "$(find "$DATA/shard-1" -name '*.log' | wc -l)" -gt 2 ]
}

@test "readers beside a writer see all of it, in order, again and again" {
        seq 200000 | drmq-send "$topic" 3>&- &
        writer=$!
        while kill -0 "$writer" 2>/dev/null; do
                drmq-recv --dir "$DATA" "$topic" -e --uncommitted >out 2>err || grep -q 'does not exist' err
                seq "$(wc -l <out)" | cmp - out
        done
        wait "$writer"
        wait_until dir_has 200000
        run_timeout drmqctl log verify "$DATA"
        expect 0
}

@test "what is not committed is printed where it is asked for, and marked" {
        make_node 10 KILL
        # The last group write again, as one that nothing names as committed: cut off what came after it.
        run_timeout drmq-recv --dir data others -e --uncommitted -f '%o%u\n'
        expect 0
        [ "${#lines[@]}" -eq 10 ]
        committed=$(drmq-recv --dir data others -e | wc -l)
        [ "$(drmq-recv --dir data others -e --uncommitted --json | grep -c '"uncommitted":true' || true)" -eq $((10 - committed)) ]
        [ "$(drmq-recv --dir data others -e --uncommitted -f '%u\n' | grep -c uncommitted || true)" -eq $((10 - committed)) ]
}

@test "options that mean nothing without a daemon" {
        for option in "-g me --single" --single "-b localhost:1" "--timeout 1s" "--commit-interval 1s"; do
                # shellcheck disable=SC2086
                run_timeout drmq-recv --dir "$DATA" "$topic" $option
                expect 2
        done
        run_timeout drmq-recv --uncommitted "$topic"
        expect 2
        says 'needs --dir'
}

@test "what is no node's directory is named" {
        mkdir empty
        for tool in "drmq-recv x -e --dir" "drmqctl log dump" "drmqctl log verify" "drmqctl log salvage --to new" \
                "drmqctl log accept-loss --yes"; do
                # shellcheck disable=SC2086
                run_timeout $tool nowhere
                expect 1
                says 'nowhere.*No such file'
                # shellcheck disable=SC2086
                run_timeout $tool empty
                expect 1
                says 'empty is not a node.s directory'
        done
        [ ! -e new ]
        [ ! -e new.part ]
        [ -z "$(ls empty)" ]
}

@test "a newer format is refused" {
        make_node 10
        # Both copies of "node", of version 99 with a checksum that is right.
        perl -e 'sub crc { my $c = 0xffffffff; for (unpack "C*", shift) { $c ^= $_; $c = $c & 1 ? ($c >> 1) ^ 0x82f63b78 : $c >> 1 for 1..8 } $c ^ 0xffffffff }
                open F, "+<", "data/node"; read F, my $b, 4096; substr($b, 8, 4) = pack "V", 99;
                substr($b, 0, 4) = pack "V", crc(substr $b, 4); seek F, 0, 0; print F $b, $b'
        for tool in "drmq-recv numbers -e --dir" "drmqctl log dump" "drmqctl log verify"; do
                # shellcheck disable=SC2086
                run_timeout $tool data
                expect 1
                says 'newer'
        done
}

@test "log dump: a line an entry" {
        make_node 10
        run_timeout drmqctl log dump data
        expect 0
        grep -qP '^0\t\d+\t\d+\t\S+Z\tadmin\tcreate numbers: 1 partition\(s\), ids from \d+$' <<<"$output"
        grep -qP '^1\t\d+\t\d+\t\S+Z\tproduce\tothers/0 0-9 \d+ bytes$' <<<"$output"
        drmqctl log dump data --json | jq -e -s 'map(select(.kind == "produce")) | map(.slices[0].messages) | add == 20'
        [ "$(drmqctl log dump data --shard 1 | cut -f 1 | sort -u)" = 1 ]
        [ "$(drmqctl log dump data --shard 1 --from 3 | head -n 1 | cut -f 2)" = 3 ]
        drmqctl log dump data --groups | grep -qP '^1\tgroup\t4096\tentries 1-1 '
        run_timeout drmqctl log dump data --shard 9
        expect 1
        says 'has no shard 9'
}

@test "damage is named, what is good is printed" {
        make_node 10
        log=data/shard-1/00000000000000000001.log
        # In the values of "numbers", behind the header of its batch.
        pos=$(drmqctl log dump data --groups --shard 1 | awk '$2 == "group" && $5 ~ /^2-2/ { print $3 }')
        [ -n "$pos" ]
        spoil "$log" $((pos + 64 + 40 + 40 + 61 + 10)) 1

        run_timeout drmqctl log verify data
        expect 1
        grep -qF "damage	$log	" <<<"$output"
        grep -q 'numbers/0 offset 0 on: the batch is damaged' <<<"$output"
        run_timeout drmqctl log verify data --json
        expect 1
        jq -e 'select(.damage) | .partition == "numbers/0"' <<<"$output"

        run_timeout drmq-recv --dir data numbers others -e
        expect 1
        prints "$(seq 10)"
        says "numbers/0: offset 0 is damaged, and what may follow it: $log, position "

        run_timeout drmqctl log salvage data --to rescued
        expect 7
        says 'numbers/0: offsets 0 to 9 are lost'
        run_timeout drmqctl log verify rescued
        expect 0
        run_timeout drmq-recv --dir rescued numbers others -e --json
        expect 0
        [ "$(jq -r 'select(.topic == "others") | .value' <<<"$output")" = "$(seq 10)" ]
        run_timeout drmqctl log salvage data --to rescued
        expect 1
        says 'is there already'

        # Offsets go on where they were.
        mv data damaged
        mv rescued data
        serve
        [ "$(drmq-send numbers --offsets new)" = "numbers	0	10" ]
        run_timeout drmq-recv numbers -e
        expect 0
        prints new
        stop_drmqd "own-$BATS_TEST_NUMBER"
}

@test "topics whose names are lost are kept" {
        make_node 10
        rm -r data/shard-0
        run_timeout drmqctl log salvage data --to rescued
        expect 7
        says '2 partition.s. without a name'
        drmq-recv --dir rescued lost.1 -e | cmp - <(seq 10)
}

@test "accept-loss: a node with a damaged end takes messages again, and gives no offset twice" {
        make_node 100
        rm data/shard-1/checkpoint-*
        log=$(find data/shard-1 -name '*.log' | sort | tail -n 1)
        # The last bytes that are not zero.
        end=$(perl -0777 -ne 's/\0+$//; print length' "$log")
        spoil "$log" $((end - 300)) 300

        run_timeout drmqctl log accept-loss data
        expect 2
        says 'needs --yes'
        cp -r data before
        run_timeout drmqctl log accept-loss data --yes
        expect 0
        grep -q 'others/0: what followed offset' <<<"$output"
        says 'takes messages again'
        run_timeout drmqctl log accept-loss data --yes
        expect 0
        says 'Nothing of data is lost'

        serve
        grep -q 'The loss of entries .* of shard 1 was accepted' "$(drmqd_dir "own-$BATS_TEST_NUMBER")/log"
        offset=$(drmq-send others --offsets new | cut -f 3)
        [ "$offset" -ge 10 ]
        drmq-recv numbers -e | cmp - <(seq 100)
        [ "$(drmq-recv others -e 2>/dev/null | tail -n 1)" = new ]
        run_timeout drmqctl log accept-loss "$(drmqd_dir "own-$BATS_TEST_NUMBER")/data" --yes
        expect 1
        says 'stop its daemon first'
        stop_drmqd "own-$BATS_TEST_NUMBER"
}
