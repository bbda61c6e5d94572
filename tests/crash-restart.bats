#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A restart that nobody notices: the daemon is stopped and started under load, again and again. No tool says a word,
# nothing is lost, doubled or out of order, and nobody waits for long.

load lib/drmq
load lib/manager

restarts=${DRMQ_RESTARTS:-50}
topic=numbers

setup() {
        dir=$BATS_TEST_TMPDIR
        data=$dir/data
        socket=$dir/s.sock
        managed=
        sender_pid=
        receiver_pid=
        large_pid=
        # What the daemon is told to listen on may change between two starts.
        echo "--port 0 --listen unix:$socket" >"$dir/options"
        cat >"$dir/serve" <<-END
		#!/bin/sh
		exec drmqd --node restart-$BATS_TEST_NUMBER --data-dir $data \$(cat $dir/options)
	END
        chmod +x "$dir/serve"
        manager_command=("$dir/serve")
}

teardown() {
        kill ${sender_pid:+"$sender_pid"} ${receiver_pid:+"$receiver_pid"} ${large_pid:+"$large_pid"} 2>/dev/null || true
        manager_stop
        wait 2>/dev/null || true
}

serve() { # OPTION OF MANAGER...
        manager_start "$@" --
        tell start
        wait_said '.notify == ["READY=1"]'
        address=$(daemon_address)
}

# The largest message there may be: 8 MiB, and no two are the same.
large_message() { # N
        printf '%-64d' "$1"
        cat "$dir/noise"
}

n_sent() {
        wc -l <"$dir/sent"
}

has_sent() { # N
        [ "$(n_sent)" -ge "$1" ]
}

# Numbers without end go in and come out; $dir/gap is the longest that an acknowledgement was waited for.
load_start() { # BROKER
        export DRMQ_BROKERS=$1
        drmqctl topics create "$topic" large
        head -c $((8 * 1024 * 1024 - 64)) /dev/urandom >"$dir/noise"
        mkfifo "$dir/offsets"
        gap_file=$dir/gap perl -MTime::HiRes=time -ne '
                BEGIN { $| = 1; $last = time }
                print;
                $now = time; $gap = $now - $last if $now - $last > $gap; $last = $now;
                END { open F, ">", $ENV{gap_file}; printf F "%.0f\n", $gap * 1000 }' <"$dir/offsets" >"$dir/sent" 3>&- &
        seq 1000000000 2>/dev/null | drmq-send "$topic" --offsets --rate 20000 >"$dir/offsets" 2>"$dir/sender.errors" 3>&- &
        sender_pid=$!
        drmq-recv "$topic" >"$dir/received" 2>"$dir/receiver.errors" 3>&- &
        receiver_pid=$!
        wait_until has_lines "$dir/received" 1000
}

# Stops the load and looks at what it left: each message once, in order, and not a word.
load_check() {
        local n

        kill -TERM "$sender_pid"
        wait "$sender_pid" || true
        wait_until has_lines "$dir/gap" 1
        n=$(n_sent)
        wait_until has_lines "$dir/received" "$n"
        kill -TERM "$receiver_pid"
        wait "$receiver_pid" || true

        cmp "$dir/received" <(seq "$n")
        cmp <(drmq-recv "$topic" -e) <(seq "$n")
        cmp <(drmq-recv large -e --framed) <(for ((i = 1; i <= restarts; i++)); do
                printf '\0\200\0\0'
                large_message "$i"
        done)
        for file in sender receiver large; do
                diff /dev/null "$dir/$file.errors"
        done
        echo "# $restarts restarts: $n messages and $restarts of 8 MiB; the longest wait was $(cat "$dir/gap") ms" >&3
}

# A restart with a largest message under way, after something came through since the last one.
restart_under_load() { # N
        local n

        n=$(n_sent)
        large_message "$1" >"$dir/large"
        drmq-send large --file "$dir/large" 2>>"$dir/large.errors" 3>&- &
        large_pid=$!
        wait_until has_sent $((n + 200))
        restart_once "$1"
        wait "$large_pid"
        large_pid=
}

restart_all() {
        for ((i = 1; i <= restarts; i++)); do
                restart_under_load "$i"
        done
        load_check
}

# As a manager does it: it starts again as soon as it has ended.
restart_once() { # N
        tell restart 15
        wait_said '.notify == ["READY=1"]' $(($1 + 1))
        said '.exited == 0' "$1"
}

@test "by a Unix socket that the manager holds" {
        serve --unix "$socket"
        load_start "unix:$socket"
        restart_all
}

@test "by a Unix socket of its own" {
        serve
        load_start "unix:$socket"
        restart_all
}

@test "by TCP, the socket stored with the manager" {
        serve
        load_start "$address"
        restart_all
}

@test "by TCP, without a manager that stores: clients try again" {
        restart_once() {
                tell signal 15
                wait_said '.exited == 0' "$1"
                tell forget
                tell start
                wait_said '.notify == ["READY=1"]' $(($1 + 1))
        }
        serve
        echo "--listen $address --listen unix:$socket" >"$dir/options"
        load_start "$address"
        restart_all
        run grep 'as before' "$managed/stderr"
        [ "$status" -eq 1 ]
}
