#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# drmqctl: what each verb answers, to people, to pipes and in JSON.

load lib/drmq
topic=t$BATS_TEST_NUMBER

setup_file() { start_drmqd --set topics.partitions=2; }
teardown_file() { stop_drmqd; }

# COMMAND... on a terminal of its own; what it shows is in $output.
on_terminal() {
        local line

        printf -v line '%q ' "$@"
        run timeout 30 script -qec "$line" /dev/null
}

@test "status: healthy, for people, for pipes, in JSON" {
        run_timeout drmqctl status
        expect 0
        grep -qx $'State\thealthy' <<<"$output"

        run_timeout drmqctl status --json
        expect 0
        [ "${#lines[@]}" = 1 ]
        jq -e '.state == "healthy" and .node_id == 1 and .topics >= 0 and .pid > 0 and .sync == "group" and
                (.cluster_id | test("^[0-9a-f]{32}$"))' <<<"$output"
        jq -e '[.shards[].shard] == [0, 1] and all(.shards[]; .leader == 1 and .writable and .damaged_regions == 0 and
                .durable_index >= .commit_index and .commit_index > 0)' <<<"$output"

        on_terminal drmqctl status
        [ "$status" = 0 ]
        grep -q '  State: healthy' <<<"$output"
        grep -q 'SHARD  ROLE ' <<<"$output"
}

@test "status counts what is there" {
        before=$(drmqctl status --json | jq .topics)
        drmqctl topics create "$topic"
        [ "$(drmqctl status --json | jq .topics)" = $((before + 1)) ]
}

@test "status over TCP says so" {
        run_timeout drmqctl -b "$(cat "$(drmqd_dir)/address")" status --json
        expect 0
        [ "$(jq -r .address <<<"$output")" = "$(cat "$(drmqd_dir)/address")" ]
}

@test "status, nobody there: 5" {
        run_timeout drmqctl -b "unix:$BATS_TEST_TMPDIR/none" status
        expect 5
        prints ''
        says "$BATS_TEST_TMPDIR/none"
}

@test "leader: of each shard, of one" {
        run_timeout drmqctl leader --json
        expect 0
        prints $'{"shard":0,"leader":1,"term":1}\n{"shard":1,"leader":1,"term":1}'
        run_timeout drmqctl leader 1 --json
        expect 0
        prints '{"shard":1,"leader":1,"term":1}'
        run_timeout drmqctl leader 1
        prints $'1\t1\t1'
        run_timeout drmqctl leader 77
        expect 1
        says 'no shard 77'
        run_timeout drmqctl leader x
        expect 2
}

@test "topics create, list, describe" {
        run_timeout drmqctl topics create "$topic" --partitions 3
        expect 0
        prints ''
        silent
        drmqctl topics list --json | jq -e "select(.topic == \"$topic\") | .partitions == 3 and (.created | test(\"^20\"))"
        drmqctl topics list | grep -qP "^$topic\t3\t20"
        on_terminal drmqctl topics list
        grep -q '^TOPIC *PARTITIONS' <<<"$output"

        seq 10 | drmq-send "$topic" --partition 2
        run_timeout drmqctl topics describe "$topic" --json
        expect 0
        jq -e '.messages == 10 and .bytes > 0 and [.partitions[].partition] == [0, 1, 2] and
                .partitions[2].next_offset == 10 and .partitions[2].last_append != null and
                .partitions[0].last_append == null and (.partitions | map(.id) | unique | length == 3)' <<<"$output"
        run_timeout drmqctl topics describe "$topic"
        grep -qx $'Messages\t10' <<<"$output"
}

@test "a topic has the node's default of partitions, created or sent to" {
        drmqctl topics create "$topic"
        drmq-send "$topic-sent" x
        for name in "$topic" "$topic-sent"; do
                [ "$(drmqctl topics describe "$name" --json | jq '.partitions | length')" = 2 ]
        done
}

@test "topics create: what exists is refused, unless asked" {
        drmqctl topics create "$topic"
        run_timeout drmqctl topics create "$topic"
        expect 1
        says "Cannot create $topic: it exists"
        drmqctl topics create "$topic" --if-not-exists

        run_timeout drmqctl topics create "$topic" "$topic-new"
        expect 7
        says '1 of 2 topics were created'
        drmqctl topics describe "$topic-new"
}

@test "topics create -: names from stdin, many at once" {
        seq -f "$topic-%g" 2500 | drmqctl topics create -
        [ "$(drmqctl topics list | grep -c "^$topic-")" = 2500 ]
        printf '%s\n\nbad name\n' "$topic-x" >"$BATS_TEST_TMPDIR/names"
        run_timeout drmqctl topics create - <"$BATS_TEST_TMPDIR/names"
        expect 1
        says "Line 3: 'bad name' is not a topic's name"
}

@test "topics alter: only more partitions, ids are kept" {
        drmqctl topics create "$topic" --partitions 2
        drmq-send "$topic" --partition 1 kept
        ids=$(drmqctl topics describe "$topic" --json | jq -c '[.partitions[].id]')
        drmqctl topics alter "$topic" --partitions 4
        [ "$(drmqctl topics describe "$topic" --json | jq -c '[.partitions[:2][].id]')" = "$ids" ]
        drmq-send "$topic" --partition 3 new
        [ "$(all_of "$topic" | sort)" = $'kept\nnew' ]

        run_timeout drmqctl topics alter "$topic" --partitions 1
        expect 1
        says "Cannot alter $topic"
        run_timeout drmqctl topics alter "$topic"
        expect 2
        says 'needs --partitions'
}

@test "topics delete: needs --yes, and a topic that is made again is another one" {
        drmq-send "$topic" old
        id=$(drmqctl topics describe "$topic" --json | jq '.partitions[0].id')
        run_timeout drmqctl topics delete "$topic" </dev/null
        expect 2
        says 'needs --yes'
        [ "$(all_of "$topic")" = old ]

        run_timeout drmqctl topics delete "$topic" --yes
        expect 0
        run_timeout drmqctl topics describe "$topic"
        expect 1
        says "$topic"

        drmq-send "$topic" new
        [ "$(all_of "$topic")" = new ]
        [ "$(drmqctl topics describe "$topic" --json | jq '.partitions[0].id')" -gt "$id" ]
}

@test "topics delete asks on a terminal" {
        drmqctl topics create "$topic"
        run timeout 30 script -qec "drmqctl topics delete $topic" /dev/null <<<n
        [ "$status" = 1 ]
        grep -q "Delete topic $topic" <<<"$output"
        drmqctl topics describe "$topic"
        run timeout 30 script -qec "drmqctl topics delete $topic" /dev/null <<<y
        [ "$status" = 0 ]
        run_timeout drmqctl topics describe "$topic"
        expect 1
}

@test "topics delete of several: the account says how many" {
        drmqctl topics create "$topic"
        run_timeout drmqctl topics delete "$topic" "$topic-none" --yes
        expect 7
        says "Cannot delete $topic-none"
        says '1 of 2 topics were deleted'
}

@test "offsets: beginning, end, and at a time" {
        drmqctl topics create "$topic" --partitions 1
        seq 5 | drmq-send "$topic"
        run_timeout drmqctl offsets "$topic" --json
        expect 0
        [ "$(jq -c '[.topic, .partition, .offset]' <<<"$output")" = "[\"$topic\",0,5]" ]
        [ "$(drmqctl offsets "$topic" --at beginning | cut -f 2)" = 0 ]
        [ "$(drmqctl offsets "$topic" --at -1h | cut -f 2)" = 0 ]
        [ "$(drmqctl offsets "$topic" --at 2100-01-01 | cut -f 2)" = 5 ]
        run_timeout drmqctl offsets "$topic" --at sometime
        expect 2
        says "'sometime'"
}
