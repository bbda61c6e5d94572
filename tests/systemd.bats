#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The units as systemd's own tools judge them, and the daemon under a manager that plays systemd's part: what it says,
# which sockets it takes, stores and finds again, what it writes to the journal.

load lib/drmq
load lib/manager

topic=t$BATS_TEST_NUMBER

setup() {
        dir=$BATS_TEST_TMPDIR
        data=$dir/data
        socket=$dir/s.sock
        export DRMQ_BROKERS=unix:$socket
        managed=
        manager_command=()
}

teardown() {
        manager_stop
}

# A node of its own, on $socket and a free port, unless told otherwise.
manage() { # [OPTION OF MANAGER]... [-- OPTION OF DRMQD...]
        local options=()

        while [ $# -gt 0 ] && [ "$1" != -- ]; do
                options+=("$1")
                shift
        done
        shift || true
        manager_start "${options[@]}" -- --node "$topic" --data-dir "$data" "${@:---port=0}"
}

# restart SIGNAL — ends the daemon, waits, and starts it again until it is ready.
restart() {
        local n

        n=$(jq -R 'fromjson? | select(.notify == ["READY=1"])' -c "$managed/said" | wc -l)
        tell signal "$1"
        wait_said '.exited != null or .killed != null' "$n"
        tell start
        wait_said '.notify == ["READY=1"]' $((n + 1))
}

# journal ID JQ — whether an entry of that kind was written for which the filter holds.
journal() {
        said ".journal.MESSAGE_ID == \"$(sed -n "s/^#define DRMQ_MESSAGE_$1 \"\(.*\)\"/\1/p" "$BATS_TEST_DIRNAME/../lib/base/messages.h")\" and (.journal | $2)"
}

wait_journal() {
        wait_until journal "$@" || {
                cat "$managed/said" >&2
                return 1
        }
}

# Units

install_units() {
        make -s -C "$BATS_TEST_DIRNAME/.." install-systemd DESTDIR="$dir/root" PREFIX=/usr >/dev/null
        units=$dir/root/usr/lib/systemd/system
}

# The units as an instance, and with a program that is there.
instance_units() {
        install_units
        mkdir "$dir/instance"
        sed "s|=/usr/bin/drmqd|=$(command -v drmqd)|" "$units/drmqd@.service" >"$dir/instance/drmqd@node1.service"
        cp "$units/drmqd@.socket" "$dir/instance/drmqd@node1.socket"
}

@test "systemd-analyze verify has nothing to say of the units" {
        instance_units
        run systemd-analyze verify --man=no --recursive-errors=no "$dir"/instance/*
        [ "$status" -eq 0 ]
        [ -z "$output" ]
}

@test "the service is exposed to 2.0 at most, as systemd-analyze security counts" {
        instance_units
        run systemd-analyze security --offline=true --no-pager --threshold=20 "$dir/instance/drmqd@node1.service"
        sed -n 's/.*Overall exposure/# Overall exposure/p' <<<"$output" >&3
        [ "$status" -eq 0 ]
}

@test "make install puts units, user, folders and catalog where systemd looks, with the paths of PREFIX" {
        make -s -C "$BATS_TEST_DIRNAME/.." install-systemd DESTDIR="$dir/root" >/dev/null
        for file in systemd/system/drmqd@.service systemd/system/drmqd@.socket systemd/catalog/drmq.catalog \
                sysusers.d/drmq.conf tmpfiles.d/drmq.conf; do
                [ -f "$dir/root/usr/local/lib/$file" ]
        done
        grep -qx 'ExecStart=/usr/local/bin/drmqd --node=%i' "$dir/root/usr/local/lib/systemd/system/drmqd@.service"
        [ ! -e "$dir/root/etc" ]

        install_units
        grep -qx 'ExecStart=/usr/bin/drmqd --node=%i' "$units/drmqd@.service"
}

@test "sysusers and tmpfiles make the user and the folder" {
        install_units
        # An id that is free there, whatever there is here.
        mkdir -p "$dir/root/etc"
        printf 'root:x:0:0:root:/root:/bin/sh\n' >"$dir/root/etc/passwd"
        printf 'root:x:0:\n' >"$dir/root/etc/group"
        systemd-sysusers --root="$dir/root" drmq.conf
        grep -qE '^drmq:[^:]*:[0-9]+:[0-9]+:Message queue:/var/lib/drmq:/(usr/)?sbin/nologin$' "$dir/root/etc/passwd"
        grep -q '^drmq:' "$dir/root/etc/group"

        systemd-tmpfiles --root="$dir/root" --create drmq.conf
        [ "$(stat -c '%a' "$dir/root/run/drmq")" = 755 ]
        [ -d "$dir/root/etc/drmq" ]
        if [ "$(id -u)" -eq 0 ]; then
                uid=$(sed -n 's/^drmq:[^:]*:\([0-9]*\):.*/\1/p' "$dir/root/etc/passwd")
                [ "$(stat -c '%u' "$dir/root/run/drmq")" = "$uid" ]
        fi
}

@test "the journal takes the catalog" {
        install_units
        mkdir -p "$dir/root/var/lib/systemd/catalog"
        journalctl --root="$dir/root" --update-catalog
        journalctl --root="$dir/root" --list-catalog | grep '\bDRMQ: ' | sort >"$dir/listed"
        [ "$(wc -l <"$dir/listed")" -eq "$(grep -c '^-- ' "$BATS_TEST_DIRNAME/../systemd/drmq.catalog")" ]
        id=$(sed -n 's/^#define DRMQ_MESSAGE_DISK_FULL "\(.*\)"/\1/p' "$BATS_TEST_DIRNAME/../lib/base/messages.h")
        journalctl --root="$dir/root" --dump-catalog "$id" | grep -q 'Make room on the file system'
}

# What it says

@test "READY when it serves, then STATUS; STOPPING at once; in that order" {
        manage -- --listen "unix:$socket"
        tell start
        wait_said '.notify[0] // "" | startswith("STATUS=Role: leader, term: 1, topics: 0, ")'
        drmqctl status
        tell signal 15
        wait_said '.exited == 0'
        jq -r 'select(.notify).notify[] | split(" ")[0]' "$managed/said" | uniq >"$dir/order"
        # The way there may be told too.
        grep -vE '^(EXTEND_TIMEOUT_USEC=|STATUS=Recovering)' "$dir/order" | diff - <(
                echo READY=1
                echo STATUS=Role:
                echo STOPPING=1
                echo STATUS=Stopping
        )
}

@test "STATUS says who is connected and what is there" {
        manage -- --listen "unix:$socket"
        tell start
        wait_said '.notify == ["READY=1"]'
        echo 1 | drmq-send "$topic"
        wait_said '.notify[0] // "" | test("connections: 1$")'
}

@test "the largest start: progress and more time, as long as it gets on" {
        manage -- --listen "unix:$socket" --set log.checkpoint_size=1G
        tell start
        wait_said '.notify == ["READY=1"]'
        seq 200000 | drmq-send "$topic" --batch 64K
        tell signal 9
        wait_said '.killed == 9'
        manager_stop

        # Each read takes a while: the start is long, however quick the machine.
        export ASAN_OPTIONS=detect_leaks=0 # a tracer and the leak checker do not go together
        manager_command=(strace -f -qq -o "$dir/strace" -e trace=pread64 -e inject=pread64:delay_exit=150000 drmqd)
        manage -- --listen "unix:$socket"
        tell start
        wait_said '(.notify[0] // "" | test("^EXTEND_TIMEOUT_USEC=[0-9]+$")) and (.notify[1] | test("^STATUS=Recovering shard [01]: [a-z ]+, [0-9]+%$"))' 3
        wait_said '.notify == ["READY=1"]'
        # Never more than once a second or so, and not once it serves.
        [ "$(jq -R 'fromjson? | select(.notify[0] // "" | startswith("EXTEND"))' -c "$managed/said" | wc -l)" -le 60 ]
        jq -r -R 'fromjson? | select(.notify).notify[0]' "$managed/said" | sed -n '/READY/,$p' >"$dir/after"
        run grep EXTEND "$dir/after"
        [ "$status" -eq 1 ]
}

@test "SIGTERM ends a start that takes its time" {
        manage -- --listen "unix:$socket" --set log.checkpoint_size=1G
        tell start
        wait_said '.notify == ["READY=1"]'
        seq 200000 | drmq-send "$topic" --batch 64K
        tell signal 9
        wait_said '.killed == 9'
        manager_stop

        export ASAN_OPTIONS=detect_leaks=0 # a tracer and the leak checker do not go together
        manager_command=(strace -f -qq -I never -o "$dir/strace" -e trace=pread64 -e inject=pread64:delay_exit=500000 drmqd)
        manage -- --listen "unix:$socket"
        tell start
        wait_said '.notify[0] // "" | startswith("EXTEND")'
        pkill -TERM -P "$(daemon_pid)" drmqd
        wait_said '.exited == 0'
        said '.notify == ["STOPPING=1"]'
        run said '.notify == ["READY=1"]'
        [ "$status" -eq 1 ]
        manager_stop
        manager_command=()
        manage -- --listen "unix:$socket"
        tell start
        wait_said '.notify == ["READY=1"]'
        all_of "$topic" | cmp - <(seq 200000)
}

@test "the watchdog is fed while the loop turns, and bites when it hangs" {
        manage --watchdog 1000000 -- --listen "unix:$socket"
        tell start
        wait_said '.notify == ["WATCHDOG=1"]' 4
        run said '.watchdog != null'
        [ "$status" -eq 1 ]
        tell signal 19
        wait_said '.watchdog == "expired"'
        wait_said '.killed == 9'
}

# Sockets

@test "systemd-socket-activate: Unix and TCP sockets are served, and no others" {
        port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:0")->sockport')
        systemd-socket-activate -l "$socket" -l "127.0.0.1:$port" drmqd --node "$topic" --data-dir "$data" 2>"$dir/log" 3>&- &
        pid=$!
        wait_until grep -q ' as 4' "$dir/log"
        echo message | drmq-send "$topic"
        kill $pid
        wait $pid
        grep -q "Listening on unix:$socket, as it was passed" "$dir/log"
        grep -q "Listening on 127.0.0.1:$port, as it was passed" "$dir/log"
        [ "$(grep -c 'drmqd: Listening' "$dir/log")" = 2 ]
        [ -S "$socket" ] # it belongs to who made it
}

@test "systemd-socket-activate: an address that is configured is taken, another is made" {
        systemd-socket-activate -l "$socket" drmqd --node "$topic" --data-dir "$data" \
                --listen "unix:$socket" --listen "unix:$dir/other.sock" --port 0 2>"$dir/log" 3>&- &
        pid=$!
        wait_until grep -q ' as 3' "$dir/log"
        echo 1 | drmq-send "$topic"
        echo 2 | drmq-send -b "unix:$dir/other.sock" "$topic"
        kill $pid
        wait $pid
        grep -q "Listening on unix:$socket, as it was passed" "$dir/log"
        grep -qx "drmqd: Listening on unix:$dir/other.sock" "$dir/log"
        grep -qE 'Listening on 127.0.0.1:[1-9][0-9]*$' "$dir/log"
        [ ! -e "$dir/other.sock" ]
}

@test "systemd-socket-activate: a datagram socket is refused by name, the node serves" {
        systemd-socket-activate -d -l "$dir/datagram" --fdname=strange drmqd --node "$topic" --data-dir "$data" --listen "unix:$socket" --port 0 2>"$dir/log" 3>&- &
        pid=$!
        wait_until grep -q ' as 3' "$dir/log"
        perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ARGV[0])->send("x")' "$dir/datagram"
        wait_until grep -q "Listening on unix:$socket" "$dir/log"
        echo 1 | drmq-send "$topic"
        kill $pid
        wait $pid
        grep -q 'Descriptor 3 (strange) was passed and is closed: it is not a stream socket that listens' "$dir/log"
}

# As a manager starts drmqd, with /dev/null as the only descriptor: passed COUNT NAMES OPTION...
passed() {
        count=$1 names=$2 exec sh -c 'shift 2; LISTEN_PID=$$ LISTEN_FDS=$count LISTEN_FDNAMES=$names exec drmqd "$@"' - "$@" \
                3</dev/null 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
}

@test "descriptors that are said to be passed, and are not, are not confused with the daemon's own" {
        for n in 2 3 6; do
                run --separate-stderr -71 passed $n "a$(printf ':a%.0s' $(seq 2 $n))" --node "$topic" --data-dir "$data" --port 0
                [ "$stderr" = "drmqd: Cannot take the sockets that were passed: Bad file descriptor" ]
        done
}

@test "what was passed by a name that nothing is stored by is refused, the node serves" {
        for name in "drmqd-tcp-$(printf 'a%.0s' {1..300})" $'drmqd-tcp-\001'; do
                passed 1 "$name" --node "$topic" --data-dir "$data" --listen "unix:$socket" --port 0 2>"$dir/log" &
                pid=$!
                wait_until grep -q 'serves 0 topics' "$dir/log"
                kill $pid
                wait $pid
                grep -q 'Descriptor 3 (drmqd-tcp-.* was passed and is closed: it is no socket' "$dir/log"
        done
}

@test "TCP sockets are stored, and found again after a stop and a kill; the address stays" {
        manage -- --listen "unix:$socket" --port 0
        tell start
        wait_said '.notify == ["READY=1"]'
        said '.notify == ["FDSTORE=1", "FDNAME=drmqd-tcp-127.0.0.1-0"] and .fds == 1'
        address=$(daemon_address)
        for signal in 15 9; do
                restart "$signal"
                [ "$(daemon_address)" = "$address" ]
                echo "$signal" | drmq-send -b "$address" "$topic"
        done
        [ "$(grep -c "Listening on $address as before" "$managed/stderr")" = 2 ]
        said '.killed == 9 and .stored == 1'
}

@test "who connects between two lives waits, by TCP and by a Unix socket that is the manager's" {
        manage --unix "$socket" -- --port 0
        tell start
        wait_said '.notify == ["READY=1"]'
        address=$(daemon_address)
        tell signal 9
        wait_said '.killed == 9'
        [ -S "$socket" ]

        # Connected, in the kernel's queue: the daemon's own answer comes when it is back.
        drmqctl -b "$address" leader 1 >"$dir/tcp" 2>&1 &
        tcp=$!
        drmqctl leader 1 >"$dir/unix" 2>&1 &
        unix=$!
        port=${address##*:}
        wait_until grep -qE "^ *[0-9]+: 0100007F:$(printf %04X "$port") [0-9A-F]+:[0-9A-F]+ 01" /proc/net/tcp
        tell start
        wait $tcp
        wait $unix
        grep -q . "$dir/tcp"
        grep -q "Listening on unix:$socket, as it was passed" "$managed/stderr"
        run compgen -G "$managed/drmq/*.sock"
        [ "$status" -eq 1 ]
}

@test "a stored socket whose address is configured no longer is closed, and makes room" {
        manage -- --listen "unix:$socket" --port 0
        tell start
        wait_said '.notify == ["READY=1"]'
        address=$(daemon_address)
        tell signal 15
        wait_said '.exited == 0'
        # The next start wants all addresses of that port: the manager's copy must be gone before.
        cat >"$dir/again" <<-END
		#!/bin/sh
		exec drmqd --node $topic --data-dir $data --listen unix:$socket \$(cat $dir/options)
	END
        echo "--listen 127.0.0.1:0" >"$dir/options"
        manager_stop

        chmod +x "$dir/again"
        manager_command=("$dir/again")
        manage
        tell start
        wait_said '.notify == ["READY=1"]'
        address=$(daemon_address)
        echo "--listen 0.0.0.0:${address##*:}" >"$dir/options"
        restart 15
        said '.notify == ["FDSTOREREMOVE=1", "FDNAME=drmqd-tcp-127.0.0.1-0"]'
        said ".notify == [\"FDSTORE=1\", \"FDNAME=drmqd-tcp-0.0.0.0-${address##*:}\"]"
        drmqctl -b "$address" status
        restart 15
        grep -q "Listening on 0.0.0.0:${address##*:} as before" "$managed/stderr"
        said '.exited == 0 and .stored == 1' 2
}

@test "a manager that does not listen does not keep the node from starting, serving and stopping" {
        perl -MIO::Socket::UNIX -e '
                $in = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die;
                $out = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ARGV[0]) or die;
                $out->blocking(0);
                alarm 60; # if nobody ends it
                1 while $out->send("x");
                print "full\n";
                close STDOUT;
                select undef, undef, undef, undef' "$dir/notify" </dev/null >"$dir/full" 3>&- &
        full=$!
        wait_until grep -q full "$dir/full"
        NOTIFY_SOCKET=$dir/notify WATCHDOG_USEC=100000 drmqd --node "$topic" --data-dir "$data" --listen "unix:$socket" --port 0 \
                2>"$dir/log" 3>&- &
        pid=$!
        wait_until grep -q 'serves 0 topics' "$dir/log"
        echo 1 | drmq-send "$topic" --timeout 20s
        kill -HUP $pid
        wait_until grep -q 'read anew' "$dir/log"
        kill $pid
        wait $pid
        kill $full
}

# The journal

@test "the journal: started, leader, topics, stopping, each with its fields; the text is the terminal's" {
        manage --journal -- --listen "unix:$socket" --port 0
        tell start
        wait_said '.notify == ["READY=1"]'
        journal STARTED ".DRMQ_NODE == \"$topic\" and .PRIORITY == \"6\" and .SYSLOG_IDENTIFIER == \"drmqd\" and (.MESSAGE | startswith(\"Node $topic serves 0 topics\"))"
        for shard in 0 1; do
                journal LEADER_ELECTED ".DRMQ_SHARD == \"$shard\" and .DRMQ_TERM == \"1\" and .PRIORITY == \"5\" and .MESSAGE == \"Node 1 leads shard $shard in term 1\""
        done
        drmqctl topics create "$topic" --partitions 3
        drmqctl topics alter "$topic" --partitions 5
        drmqctl topics delete "$topic" --yes
        wait_journal TOPIC_CREATED ".DRMQ_TOPIC == \"$topic\" and .MESSAGE == \"Topic $topic was created: partitions 0 to 2\""
        wait_journal TOPIC_EXTENDED ".DRMQ_TOPIC == \"$topic\" and .MESSAGE == \"Topic $topic was extended: partitions 0 to 4\""
        wait_journal TOPIC_DELETED ".DRMQ_TOPIC == \"$topic\" and .MESSAGE == \"Topic $topic was deleted\""
        tell signal 15
        wait_said '.exited == 0'
        journal STOPPING ".DRMQ_NODE == \"$topic\" and .MESSAGE == \"Node $topic stops\""
        # Nothing on stderr, and the node in every entry.
        [ ! -s "$managed/stderr" ]
        jq -e -s '[.[] | select(.journal)] | length > 8 and all(.journal.DRMQ_NODE != null and .journal.MESSAGE != null)' "$managed/said"

        start_drmqd_as terminal
        drmqctl -b "unix:$BATS_FILE_TMPDIR/terminal/socket" topics create "$topic" --partitions 3
        stop_drmqd terminal
        for text in 'Node 1 leads shard 1 in term 1' "Topic $topic was created: partitions 0 to 2"; do
                grep -qx "drmqd: $text" "$BATS_FILE_TMPDIR/terminal/log"
        done
}

@test "the journal: a topic too many is counted, not named" {
        manage --journal -- --listen "unix:$socket" --port 0
        tell start
        wait_said '.notify == ["READY=1"]'
        seq -f "$topic-%g" 15 | drmqctl topics create -
        wait_journal TOPIC_CREATED ".DRMQ_TOPIC == \"$topic-10\""
        wait_journal TOPIC_CREATED '.MESSAGE == "The same happened to 5 more topics by one request" and .DRMQ_TOPIC == null'
        run journal TOPIC_CREATED ".DRMQ_TOPIC == \"$topic-11\""
        [ "$status" -eq 1 ]
}

@test "the journal: damage is told with its shard and entry, a start that fails with its file and error" {
        manage --journal -- --listen "unix:$socket" --port 0
        tell start
        wait_said '.notify == ["READY=1"]'
        seq 1000 | drmq-send "$topic"
        seq 2000 2999 | drmq-send "$topic"
        tell signal 9
        wait_said '.killed == 9'
        log=$(ls "$data"/shard-1/*.log)
        # A byte in the values of the first batch: what follows it is good.
        place=$(grep -aobF 500 "$log" | head -n 1)
        printf X | dd of="$log" bs=1 seek="${place%%:*}" conv=notrunc status=none
        tell start
        wait_said '.notify == ["READY=1"]' 2
        journal CORRUPTION_FOUND '.DRMQ_SHARD == "1" and (.DRMQ_INDEX | tonumber) > 0 and .PRIORITY == "3"'
        tell signal 15
        wait_said '.exited == 0'

        printf garbage >"$data/node"
        tell start
        wait_said '.exited == 65'
        journal START_FAILED ".DRMQ_FILE == \"$data\" and .DRMQ_ERROR == \"EBADMSG\" and .PRIORITY == \"3\""
}

@test "the journal: a full disk is told with its shard, folder and error" {
        [ "$(id -u)" -eq 0 ] || skip "needs root to mount"
        mkdir "$data"
        cat >"$dir/serve" <<-END
		#!/bin/sh
		mount -t tmpfs -o size=24M tmpfs $data
		exec drmqd "\$@"
	END
        chmod +x "$dir/serve"
        manager_command=(unshare -m "$dir/serve")
        manage --journal -- --listen "unix:$socket" --port 0 --set log.segment_size=1M --set log.reserve=2M
        tell start
        wait_said '.notify == ["READY=1"]'
        head -c 32M /dev/urandom | base64 -w 1000 | drmq-send "$topic" --timeout 2s 2>"$dir/err" || true
        wait_journal DISK_FULL '(.DRMQ_SHARD | test("[01]")) and (.DRMQ_FILE | test("/data")) and .DRMQ_ERROR == "ENOSPC" and .PRIORITY == "4"'
        drmqctl topics list | grep -q "$topic"
}
