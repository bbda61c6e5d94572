#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Directories that earlier builds wrote, a version of the format each (tests/golden/make.sh): this build reads them, with
# and without a daemon, after a clean stop and after a kill.

load lib/drmq

golden=$BATS_TEST_DIRNAME/golden

setup() {
        cd "$BATS_TEST_TMPDIR" || return
}

# all_messages VERSION [OPTION]... — as make.sh wrote them down.
all_messages() {
        local version=$1 topic
        shift
        while read -r topic _; do
                if [ "$topic" = bulk ]; then
                        drmq-recv "$topic" -e -f '%o %v\n' "$@" | sha256sum
                else
                        drmq-recv "$topic" -e --json "$@" | sort
                fi
        done <"$golden/$version/topics"
}

# serves VERSION STATE — the daemon on that directory has all of it, goes on, and stops.
serves() {
        local version=$1 state=$2 node=$1-$2
        mkdir -p "$(drmqd_dir "$node")"
        tar -C "$(drmqd_dir "$node")" -xzf "$golden/$version/$state.tar.gz"
        start_drmqd_as "$node"
        export DRMQ_BROKERS=unix:$BATS_FILE_TMPDIR/$node/socket
        drmqctl status >node.status
        drmqctl topics list | cut -f 1,2 | cmp - "$golden/$version/topics"
        all_messages "$version" | cmp - <(zcat "$golden/$version/messages.json.gz")
        [ "$(drmq-recv numbers --single -g me -n 1 -f %o)" = "$(cat "$golden/$version/position")" ]
        drmq-send numbers --offsets new | grep -q '^numbers	0	2010$'
        stop_drmqd "$node"
        drmqctl log verify "$BATS_FILE_TMPDIR/$node/data"
}

for_each() { # COMMAND...
        local version state
        for version in "$golden"/v*/; do
                for state in stopped killed; do
                        "$@" "$(basename "$version")" "$state"
                done
        done
}

reads() { # VERSION STATE
        rm -rf data
        tar -xzf "$golden/$1/$2.tar.gz"
        all_messages "$1" --dir data | cmp - <(zcat "$golden/$1/messages.json.gz")
        drmqctl log dump data >entries.txt
        [ "$(grep -c '	produce	' entries.txt)" -gt 20 ]
        grep -q 'create wide: 3 partition(s)' entries.txt
        grep -q 'me at numbers/0 700' entries.txt
}

verifies() { # VERSION STATE
        rm -rf data
        tar -xzf "$golden/$1/$2.tar.gz"
        run_timeout drmqctl log verify data
        expect 0
        says ' 0 damaged'
}

salvages() { # VERSION STATE
        rm -rf data rescued
        tar -xzf "$golden/$1/$2.tar.gz"
        run_timeout drmqctl log salvage data --to rescued
        expect 0
        all_messages "$1" --dir rescued | cmp - <(zcat "$golden/$1/messages.json.gz")
        run_timeout drmqctl log verify rescued
        expect 0
}

@test "without a daemon all is read, and told" {
        for_each reads
}

@test "every byte is as it should be" {
        for_each verifies
}

@test "salvaged from, it is the same" {
        for_each salvages
}

@test "a daemon serves it, and goes on" {
        for_each serves
}
