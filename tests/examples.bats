#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What the pages and the README show, as it is typed there.

load lib/drmq

setup_file() { start_drmqd; }
teardown_file() { stop_drmqd; }

setup() {
        cd "$BATS_TEST_TMPDIR" || return
}

@test "a million numbers through the pipe are the same numbers" {
        seq 1000000 | drmq-send numbers --progress
        [ "$(drmq-recv numbers -e | sha256sum)" = "$(seq 1000000 | sha256sum)" ]
        drmq-recv numbers --from -10 -e -f '%o %k %v\n' | diff - <(seq 999991 1000000 | awk '{ print $1 - 1, "", $1 }')
        [ "$(drmq-recv numbers --single -g me -n 100 | sha256sum)" = "$(seq 100 | sha256sum)" ]
        drmq-recv numbers --single -g me -n 100 | cmp - <(seq 101 200)

        drmqctl status
        drmqctl leader --json
        drmqctl topics list --json | grep -q '"topic":"numbers"'
        drmqctl topics describe numbers
        drmqctl offsets numbers --at -1h
}

@test "a log that grows, followed at both ends" {
        touch some.log
        # shellcheck disable=SC2094
        tail -F some.log 2>/dev/null 3>&- | drmq-send logs -H "host=$(hostname)" 3>&- &
        sender=$!
        drmq-recv logs --json 2>/dev/null 3>&- | jq --unbuffered -r '"\(.headers.host) \(.value)"' >values 3>&- &
        reader=$!
        echo 'first line' >>some.log
        wait_until has_lines values 1
        echo 'second line' >>some.log
        wait_until has_lines values 2

        # Who writes to them notices that they have gone: wait waits for all of a pipe.
        kill $sender $reader
        wait $sender $reader || true
        cmp values <(printf '%s\n' "$(hostname) first line" "$(hostname) second line")
}

@test "names of files, NUL-separated" {
        touch 'a b.jpg' $'c\nd.jpg' e.txt
        find . -name '*.jpg' -print0 | sort -z >names
        drmq-send files -0 <names
        drmq-recv files -e -0 | cmp - names
}

@test "files as messages, compressed; all of them in one stream" {
        for i in 1 2 3; do head -c $((i * 1000)) /dev/urandom >"$i.jpg"; done
        drmq-send photos --file *.jpg -z zstd
        drmq-recv photos --framed -e >all
        drmq-send photos-again --framed <all
        for i in 1 2 3; do
                drmq-recv photos-again --from $((i - 1)) -n 1 -f %v | cmp - "$i.jpg"
        done
}

@test "one partition of a wide topic" {
        drmqctl topics create wide --partitions 8
        seq 100 | drmq-send wide --partition 3
        drmq-recv wide --partition 3 --from 42 -n 5 | cmp - <(seq 43 47)
}

@test "keys keep their messages together" {
        drmqctl topics create accounts --partitions 8
        printf 'anna:1\nbert:2\nanna:3\n' | drmq-send accounts -K :
        [ "$(drmq-recv accounts -e -f '%p %k\n' | sort -u | wc -l)" = 2 ]
}

@test "topics by the thousand" {
        seq -f 'sensor-%g' 1000 | drmqctl topics create -
        [ "$(drmqctl topics list | grep -c ^sensor-)" = 1000 ]
        drmqctl topics delete sensor-1 --yes
}

@test "from one topic to another, changed on the way" {
        seq 3 | drmq-send source
        drmq-recv source -e --json | jq -c '{topic: "sink", value: (.value | tonumber * 2 | tostring)}' | drmq-send sink --json
        drmq-recv sink -e | cmp - <(printf '2\n4\n6\n')
}

@test "drmq-snapshot(1): back up, check, bring back; hold; from host to host" {
        seq 1000 | drmq-send backed-up
        drmq-snapshot create --to backup.tar.zst --progress
        drmq-snapshot inspect backup.tar.zst
        drmq-snapshot verify backup.tar.zst
        drmq-snapshot restore backup.tar.zst --data-dir ./data-9
        tar --zstd -t -f backup.tar.zst | grep -qx manifest
        [ -e data-9/node ]

        drmq-snapshot create --name before-upgrade
        drmq-snapshot list | grep -q ^before-upgrade
        drmq-snapshot delete before-upgrade

        drmq-snapshot create --to - | drmq-snapshot restore - --data-dir ./copy
        [ -e copy/node ]
}

@test "a directory without its daemon" {
        seq 1000 | drmq-send offline
        ln -s "$BATS_FILE_TMPDIR/d/data" data-1
        has_all() { [ "$(drmq-recv --dir ./data-1 offline -e | wc -l)" -eq 1000 ]; }
        wait_until has_all
        drmqctl log dump ./data-1 | head
        drmqctl log verify ./data-1
        drmqctl log salvage ./data-1 --to ./rescued
        drmq-recv --dir ./rescued offline -e | cmp - <(seq 1000)
}
