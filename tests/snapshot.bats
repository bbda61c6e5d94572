#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# drmq-snapshot: made while messages come and go, checked, refused, brought back.

load lib/drmq

setup_file() { start_drmqd --set log.segment_size=1M; }
teardown_file() { stop_drmqd; }

setup() {
        topic=t$BATS_TEST_NUMBER
        cd "$BATS_TEST_TMPDIR" || return
}

# What a directory holds of a topic: a daemon of its own serves it for a moment.
sum_of_directory() { # DIR TOPIC
        local name=restored-$BATS_TEST_NUMBER-$RANDOM dir

        dir=$(drmqd_dir "$name")
        mkdir -p "$dir"
        mv "$1" "$dir/data"
        start_drmqd_as "$name" >&2
        drmq-recv -b "unix:$dir/socket" "$2" -e | sha256sum
        stop_drmqd "$name" >&2
        mv "$dir/data" "$1"
}

# Nothing that could be taken for an archive, and no snapshot held.
nothing_left() {
        [ ! -e a ]
        [ -z "$(drmq-snapshot list)" ]
}

@test "what was acknowledged before a snapshot is in it, whatever comes meanwhile" {
        seq 100000 | drmq-send "$topic"
        sum=$(seq 100000 | sha256sum)
        seq 1000000000 | drmq-send "$topic-load" --rate 100000 2>/dev/null 3>&- &
        load=$!
        wait_until eval "drmqctl topics describe '$topic-load' 2>/dev/null | grep -q ."

        for i in 1 2 3; do
                drmq-snapshot create --to "a$i" >made
                grep -qP "Archive\ta$i" made
                drmq-snapshot verify "a$i" >/dev/null
                drmq-snapshot restore "a$i" --data-dir "r$i" >/dev/null
        done
        kill $load
        wait $load || true
        [ "$(drmq-recv "$topic" -e | sha256sum)" = "$sum" ]
        [ "$(sum_of_directory r1 "$topic")" = "$sum" ]
        [ "$(sum_of_directory r3 "$topic")" = "$sum" ]
        [ -z "$(drmq-snapshot list)" ]
        [ "$(stat -c %a a1)" = 600 ]
        [ ! -e a1.partial ]

        # Dense, and no more than was sent: the front of what the load sent.
        dir=$(drmqd_dir load)
        mkdir -p "$dir"
        cp -a r2 "$dir/data"
        start_drmqd_as load
        drmq-recv -b "unix:$dir/socket" "$topic-load" -e >got
        stop_drmqd load
        cmp got <(seq "$(wc -l <got)")
}

@test "a snapshot that the node holds: listed, not changed by what comes later, deleted" {
        seq 1000 | drmq-send "$topic"
        drmq-snapshot create --name mine --json | jq -e '.name == "mine" and .files > 0 and .archive == null'
        seq 1000 | drmq-send "$topic"
        drmq-snapshot list --json | jq -e '.name == "mine" and .is_temporary == false and .is_damaged == false'
        run_timeout drmq-snapshot create --name mine
        expect 1
        says 'mine already'
        folder=$(drmqd_dir)/data/snapshots/mine
        [ -e "$folder/drmq-snapshot" ]
        while read -r kind _ _ path; do
                [ "$kind" != file ] || [ "$(stat -c %h "$folder/$path")" -ge 2 ]
        done <"$folder/drmq-snapshot"

        # It outlives the daemon, kill -9 too.
        stop_drmqd d KILL
        start_drmqd --set log.segment_size=1M
        [ "$(drmq-snapshot list | cut -f 1)" = mine ]
        drmqctl status --json | jq -e ".snapshots == 1 and .snapshot_bytes == 0" >/dev/null

        drmq-snapshot delete mine
        [ -z "$(drmq-snapshot list)" ]
        [ ! -e "$folder" ]
        run_timeout drmq-snapshot delete mine
        expect 1
        says 'no snapshot "mine"'
        run_timeout drmq-snapshot create --name two
        run_timeout drmq-snapshot delete two nothing
        expect 7
}

@test "no more are held than limits.snapshots" {
        start_drmqd_as few --set limits.snapshots=2
        at="unix:$(drmqd_dir few)/socket"
        drmq-snapshot -b "$at" create
        drmq-snapshot -b "$at" create
        run_timeout drmq-snapshot -b "$at" create
        expect 1
        says 'limits.snapshots'
        drmq-snapshot -b "$at" list | cut -f 1 | xargs drmq-snapshot -b "$at" delete
        drmq-snapshot -b "$at" create
        stop_drmqd few
}

@test "the directory of a node that is stopped; of one that runs it is refused" {
        start_drmqd_as off --set log.segment_size=1M
        dir=$(drmqd_dir off)
        seq 50000 | drmq-send -b "unix:$dir/socket" "$topic"
        run_timeout drmq-snapshot create --dir "$dir/data" --to a
        expect 1
        says 'A node runs in'
        [ ! -e a ] && [ ! -e a.partial ]

        stop_drmqd off KILL
        drmq-snapshot create --dir "$dir/data" --to a --name cold
        drmq-snapshot verify a --json | jq -e '.is_whole and .name == "cold"'
        drmq-snapshot restore a --data-dir r
        [ "$(sum_of_directory r "$topic")" = "$(seq 50000 | sha256sum)" ]

        # And the directory itself goes on.
        start_drmqd_as off
        [ "$(drmq-recv -b "unix:$dir/socket" "$topic" -e | sha256sum)" = "$(seq 50000 | sha256sum)" ]
        stop_drmqd off

        run_timeout drmq-snapshot create --dir "$dir/nothing" --to b
        expect 1
        says 'not a node'
        [ ! -e "$dir/nothing" ]
        run_timeout drmq-snapshot create --dir "$dir/data"
        expect 2
}

@test "restored is a new cluster of one, which says where it came from" {
        seq 10 | drmq-send "$topic"
        drmq-snapshot create --to a --json >made
        drmq-snapshot restore a --data-dir r1 --json >one
        drmq-snapshot restore a --data-dir r2 --json >two
        mine=$(drmqctl status --json | jq -r .cluster_id)
        jq -e ".origin_cluster_id == \"$mine\" and .cluster_id != \"$mine\"" one
        [ "$(jq -r .cluster_id one)" != "$(jq -r .cluster_id two)" ]
        grep -q "^cluster $mine" r1/origin
        start_drmqd_as new --set limits.snapshots=1
        stop_drmqd new
        rm -rf "$(drmqd_dir new)/data"
        mv r1 "$(drmqd_dir new)/data"
        start_drmqd_as new
        at="unix:$(drmqd_dir new)/socket"
        [ "$(drmqctl -b "$at" status --json | jq -r .cluster_id)" = "$(jq -r .cluster_id one)" ]
        echo eleven | drmq-send -b "$at" "$topic"
        [ "$(drmq-recv -b "$at" "$topic" -e | tail -n 1)" = eleven ]
        # A snapshot of what was restored, restored.
        drmq-snapshot -b "$at" create --to again
        stop_drmqd new
        drmq-snapshot restore again --data-dir r3
        [ "$(sum_of_directory r3 "$topic")" = "$({ seq 10; echo eleven; } | sha256sum)" ]
}

@test "what is restored is synced before it has its name, and so is an archive" {
        # What looks for leaks at the exit cannot do so while somebody traces.
        export ASAN_OPTIONS=detect_leaks=0
        seq 30000 | drmq-send "$topic"
        strace -f -y -e trace=/sync,/rename -o out.trace drmq-snapshot create --to a
        grep -n '/a\.partial>' out.trace | sed -n 's/:.*fsync.*//p' >synced
        [ "$(head -n 1 synced)" -lt "$(grep -n 'rename.*a\.partial' out.trace | cut -d : -f 1)" ]

        strace -f -y -e trace=/sync,/rename -o back.trace drmq-snapshot restore a --data-dir r
        sed '/rename.*r\.partial"/,$d' back.trace | sed -n 's/.*f\(data\)\?sync([0-9]*<.*\/r\.partial\/\?\([^>]*\)>.*/\2/p' |
                sort -u >synced
        # all files but the lock, and all folders; `node` gets its name by a rename of its own
        (cd r && find . -mindepth 1 -name incoming -prune -o ! -name lock -printf '%P\n') | sort >there
        [ "$(wc -l <there)" -gt 6 ]
        sed -i 's/^node\.new$/node/' synced
        comm -13 synced there | diff /dev/null -
}

@test "nothing is overwritten" {
        seq 10 | drmq-send "$topic"
        echo precious >a
        run_timeout drmq-snapshot create --to a
        expect 1
        says 'there already'
        [ "$(cat a)" = precious ]
        [ -z "$(drmq-snapshot list)" ]

        drmq-snapshot create --to b
        mkdir full empty
        echo precious >full/file
        run_timeout drmq-snapshot restore b --data-dir full
        expect 1
        says 'not empty'
        [ "$(ls full)" = file ]
        [ ! -e full.partial ]
        echo precious >file
        run_timeout drmq-snapshot restore b --data-dir file
        expect 1
        [ "$(cat file)" = precious ]
        run_timeout drmq-snapshot restore b --data-dir "$(drmqd_dir)/data"
        expect 1
        drmq-snapshot restore b --data-dir empty/
        [ -e empty/node ]
        run_timeout drmq-snapshot restore b --data-dir empty
        expect 1

        mkdir c.partial d.partial
        echo precious >d.partial/file
        run_timeout drmq-snapshot restore b --data-dir d
        expect 1
        says 'in the way'
        [ "$(ls d.partial)" = file ]
}

@test "what is damaged anywhere is refused by all, and says where" {
        seq 20000 | drmq-send "$topic"
        drmq-snapshot create --to a
        size=$(stat -c %s a)

        refused() { # FILE
                for verb in inspect verify "restore --data-dir r"; do
                        # shellcheck disable=SC2086
                        run_timeout drmq-snapshot $verb "$1"
                        expect 1
                        [ -z "$output" ]
                        says .
                        [ ! -e r ] && [ ! -e r.partial ]
                done
        }

        for at in 0 5 100 $((size / 3)) $((size / 2)) $((size - 200)) $((size - 2)); do
                cp a b
                chmod +w b
                printf '%b' "\\x$(printf %02x $((0x$(xxd -s $at -l 1 -p a) ^ 0x55)))" |
                        dd of=b bs=1 seek="$at" conv=notrunc status=none
                refused b
        done
        for n in 0 1 4 1000 $((size / 2)) $((size - 1000)) $((size - 1)); do
                head -c "$n" a >b
                refused b
        done
        { cat a; echo more; } >b
        refused b
        cp a b
        cat a >>b
        refused b

        zstd -dq <a >plain
        for at in 0 300 600 $((512 + 20)) 5000 50000 $(($(stat -c %s plain) - 1200)); do
                cp plain changed
                printf '%b' "\\x$(printf %02x $((0x$(xxd -s $at -l 1 -p plain) ^ 0x01)))" |
                        dd of=changed bs=1 seek="$at" conv=notrunc status=none
                zstd -q -f changed -o b
                refused b
        done
        for n in 512 1024 10000 $(($(stat -c %s plain) - 1024)) $(($(stat -c %s plain) - 512)); do
                head -c "$n" plain | zstd -q >b
                refused b
        done

        # Members: swapped, missing, twice, one more, a link, a path that leads out.
        mkdir x
        tar -xf plain -C x
        mapfile -t members < <(tar -tf plain)
        as_archive() { tar --format=ustar --owner=0 --group=0 -C x -cf - "$@" | zstd -q >b; }
        as_archive "${members[@]}"
        drmq-snapshot verify b
        as_archive "${members[0]}" "${members[2]}" "${members[1]}" "${members[@]:3}"
        refused b
        as_archive "${members[@]:1}"
        refused b
        as_archive "${members[@]::${#members[@]}-1}"
        refused b
        as_archive "${members[0]}" "${members[@]:2}"
        refused b
        as_archive "${members[@]}" "${members[1]}"
        refused b
        as_archive "${members[0]}" "${members[1]}" "${members[@]:1}"
        refused b
        touch x/evil
        as_archive "${members[@]::${#members[@]}-1}" evil manifest
        refused b
        rm "x/${members[1]}"
        ln -s /etc/passwd "x/${members[1]}"
        as_archive "${members[@]}"
        refused b
        printf 'no archive\n' >b
        refused b
        run_timeout drmq-snapshot verify nothing
        expect 1
        says 'nothing'
        run_timeout drmq-snapshot verify .
        expect 1
}

# The archive is whole, and the log in it is not: its manifest was made of bytes that the disk had spoiled.
@test "a log that was damaged before is seen too" {
        start_drmqd_as bad --set log.segment_size=1M
        dir=$(drmqd_dir bad)
        for i in 1 2 3 4; do seq 100000 | drmq-send -b "unix:$dir/socket" "$topic"; done
        stop_drmqd bad
        first=$dir/data/shard-1/00000000000000000001.log
        printf '\xff\xfe\xfd' | dd of="$first" bs=1 seek=100000 conv=notrunc status=none
        run_timeout drmq-snapshot create --dir "$dir/data" --to a
        expect 1
        says 'shard-1/00000000000000000001.log is damaged at byte'
        says 'cannot be restored'
        drmq-snapshot inspect a >/dev/null
        run_timeout drmq-snapshot verify a
        expect 1
        says 'shard-1/00000000000000000001.log is damaged at byte'
        run_timeout drmq-snapshot restore a --data-dir r
        expect 1
        [ ! -e r ] && [ ! -e r.partial ]
}

@test "a tool that is killed leaves nothing that verifies; the next one succeeds" {
        head -c 12000000 /dev/urandom >blob
        split -b 1000000 blob part-
        drmq-send "$topic" --file part-*
        wait_for_partial() { [ -s a.partial ] || ! kill -0 "$tool" 2>/dev/null; }

        i=0
        for signal in KILL TERM INT KILL; do
                i=$((i + 1))
                drmq-snapshot create --to a --level 12 2>/dev/null 3>&- &
                tool=$!
                wait_until wait_for_partial
                kill -$signal $tool 2>/dev/null || true
                wait $tool && status=0 || status=$?
                if [ -e a ]; then # it was faster than we were
                        [ $status = 0 ]
                        drmq-snapshot verify a
                        rm a
                        continue
                fi
                [ $status != 0 ]
                if [ $signal = KILL ]; then
                        [ -e a.partial ]
                        run_timeout drmq-snapshot verify a.partial
                        expect 1
                        [ $i = 4 ] || rm a.partial # the next one takes over the last
                else
                        [ ! -e a.partial ]
                        # Deleted by the tool itself; what KILL left the node deletes when nobody reads it.
                        run ! grep -q '"is_temporary":false' <(drmq-snapshot list --json)
                fi
        done
        drmq-snapshot create --to a
        [ ! -e a.partial ]
        drmq-snapshot list | cut -f 1 | xargs -r drmq-snapshot delete

        mkdir r.partial # a restore that got no further
        for i in 1 2 3 4; do
                drmq-snapshot restore a --data-dir r 2>/dev/null 3>&- &
                tool=$!
                wait_until eval "[ -e r.partial/shard-$((i % 2)) ] || [ -e r ]"
                kill -KILL $tool 2>/dev/null || true
                wait $tool || true
                if [ -e r ]; then rm -rf r; else [ ! -e r.partial/node ]; fi
        done
        drmq-snapshot restore a --data-dir r
        [ ! -e r.partial ]
        [ -e r/node ]
}

@test "a daemon that is killed while it makes or streams one goes on, and so does the tool" {
        start_drmqd_as shaky --set log.segment_size=1M
        dir=$(drmqd_dir shaky)
        at="unix:$dir/socket"
        head -c 8000000 /dev/urandom >blob
        split -b 500000 blob part-
        drmq-send -b "$at" "$topic" --file part-*
        sum=$(drmq-recv -b "$at" "$topic" -e --framed | sha256sum)

        for i in 1 2 3; do
                drmq-snapshot -b "$at" create --to "a$i" --level 12 >/dev/null 3>&- &
                tool=$!
                wait_until eval "[ -s a$i.partial ] || [ -e a$i ]"
                stop_drmqd shaky KILL
                start_drmqd_as shaky --set log.segment_size=1M
                wait $tool
                drmq-snapshot verify "a$i" >/dev/null
        done
        # Held ones, and the daemon killed at any moment: whole, or not there.
        for i in 1 2 3 4 5; do
                drmq-snapshot -b "$at" --timeout 2s create --name "h$i" >/dev/null 2>&1 3>&- &
                tool=$!
                wait_until eval "[ -e '$dir/data/incoming/snapshot-h$i' ] || [ -e '$dir/data/snapshots/h$i' ]"
                stop_drmqd shaky KILL
                wait $tool || true
                start_drmqd_as shaky --set log.segment_size=1M
                [ -z "$(ls "$dir/data/incoming")" ]
        done
        drmq-snapshot -b "$at" list --json | jq -e '.is_damaged | not' >/dev/null
        [ "$(drmq-recv -b "$at" "$topic" -e --framed | sha256sum)" = "$sum" ]
        drmq-snapshot -b "$at" create --to last >/dev/null
        stop_drmqd shaky
        drmq-snapshot restore last --data-dir r
        start=$(drmqd_dir last)
        mkdir -p "$start"
        mv r "$start/data"
        start_drmqd_as last
        [ "$(drmq-recv -b "unix:$start/socket" "$topic" -e --framed | sha256sum)" = "$sum" ]
        stop_drmqd last
}

@test "through a pipe, from host to host; a reader that goes is told of" {
        seq 30000 | drmq-send "$topic"
        drmq-snapshot create --to - | drmq-snapshot restore - --data-dir r
        [ "$(sum_of_directory r "$topic")" = "$(seq 30000 | sha256sum)" ]
        drmq-snapshot create --to p && drmq-snapshot verify p --progress 2>err
        tail -n 1 err | grep -q "^$(drmq-snapshot inspect p --json | jq .n_files) files, "
        drmq-snapshot create --to - | tar --zstd -t | tail -n 1 | grep -qx manifest
        run_timeout bash -c 'drmq-snapshot create --to - | head -c 10 >/dev/null; exit ${PIPESTATUS[0]}'
        expect 1
        [ -z "$(drmq-snapshot list)" ]
        run_timeout bash -c 'drmq-snapshot create --to - | head -c 100000 | drmq-snapshot restore - --data-dir r2'
        expect 1
        [ ! -e r2 ] && [ ! -e r2.partial ]
}

@test "where nothing can be written it says so and holds nothing" {
        seq 10 | drmq-send "$topic"
        run_timeout drmq-snapshot create --to /nowhere/a
        expect 1
        says '/nowhere/a'
        run_timeout drmq-snapshot create --to /dev/full
        expect 1
        [ -z "$(drmq-snapshot list)" ]
        run_timeout bash -c 'drmq-snapshot create --to - >/dev/full'
        expect 1
        says 'No space'
        [ -z "$(drmq-snapshot list)" ]
        drmq-snapshot create --to a
        run_timeout drmq-snapshot restore a --data-dir /nowhere/r
        expect 1
        chmod 400 a
        drmq-snapshot verify a
}

@test "wrong usage; nobody there" {
        run_timeout drmq-snapshot
        expect 2
        run_timeout drmq-snapshot restore a
        expect 2
        says data-dir
        run_timeout drmq-snapshot create --name ../up
        expect 2
        run_timeout drmq-snapshot create --level 99 --to a
        expect 2
        run_timeout drmq-snapshot create --level 3
        expect 2
        says '--to'
        run_timeout drmq-snapshot verify a --to b
        expect 2
        run_timeout drmq-snapshot -b "unix:$PWD/nobody" --timeout 200ms list
        expect 5
        run_timeout drmq-snapshot -b "unix:$PWD/nobody" --timeout 200ms create --to a
        expect 5
        [ ! -e a ] && [ ! -e a.partial ]
}
