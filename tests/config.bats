#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# drmq.conf(5): where configuration comes from, what is said of mistakes, drmqctl config show, reload.

load lib/drmq

# Each test has its folders, in the place of /etc and /run.
setup() {
        etc=$BATS_TEST_TMPDIR/etc run=$BATS_TEST_TMPDIR/run
        mkdir -p "$etc" "$run"
        export DRMQ_CONFIG_PATH=$etc:$run
}
teardown() {
        ! [ -e "$(drmqd_dir n)/pid" ] || stop_drmqd n
}

# start [OPTION]... — a node that the test stops again; its name is what its file is called.
start() {
        rm -rf "$(drmqd_dir n)"
        start_drmqd_as n "$@"
        export DRMQ_BROKERS=unix:$BATS_FILE_TMPDIR/n/socket
}
node_name() {
        echo "test-${BATS_FILE_TMPDIR//\//-}-n"
}

check() {
        run_timeout drmqd --check-config "$@"
}

shows() { # KEY VALUE SOURCE WHERE
        [ "$(drmqctl config show "$1" | cut -f 2-4)" = "$2"$'\t'"$3"$'\t'"$4" ]
}

reload() {
        kill -HUP "$(cat "$(drmqd_dir n)/pid")"
}
log_has() {
        grep -qE -- "$1" "$(drmqd_dir n)/log"
}

@test "nothing at all is a configuration" {
        check
        expect 0 && silent && prints ""
}

@test "what is right is not talked about" {
        printf '[log]\nsegment_size=128M\n' >"$etc/node1.conf"
        check
        expect 0 && silent && prints ""
        check --node node1 --data-dir ./data
        expect 0 && silent
}

@test "an unknown key is named with file, line and what was meant, and does not keep a node from starting" {
        printf '# mine\n[log]\nsegment_szie=128M\n[lmits]\nidle=1s\n' >"$etc/node1.conf"
        check
        expect 0
        says "$etc/node1.conf:3: Unknown key \"segment_szie\" in \[log\].*did you mean \"segment_size\" in \[log\]\?"
        says "$etc/node1.conf:4: Unknown section \[lmits\].*did you mean \[limits\]\?"
}

@test "names of other brokers are understood" {
        printf '[log]\nsegment.bytes=1\nflush.ms=1\nlog.retention.bytes=1\n[topics]\nnum_partitions=2\npreset=fast\n' >"$etc/node1.conf"
        check
        expect 0
        says ':2: Unknown key "segment.bytes".*here it is "segment_size" in \[log\]'
        says ':3: Unknown key "flush.ms".*here it is "sync" in \[log\]'
        says ':4: Unknown key "log.retention.bytes".*here it is "max_bytes" in \[log\]'
        says ':6: Unknown key "num_partitions".*here it is "partitions" in \[topics\]'
        says ':7: Unknown key "preset".*throughput.conf and latency.conf'
}

@test "a bad value is an error, 78, with file, line, value and what is allowed" {
        printf '[log]\nsegment_size=12 apples\n[topics]\npartitions=0\n[log]\nsync=sometimes\n' >"$etc/node1.conf"
        check
        expect 78
        says "$etc/node1.conf:2: \"12 apples\" is malformed for log.segment_size: it takes a size from 1M to 1G \(default 64M\)"
        says "$etc/node1.conf:4: \"0\" is out of range for topics.partitions: it takes a number from 1 to 10000"
        says "$etc/node1.conf:6: \"sometimes\" is malformed for log.sync: .*group, or never"
        # and no node starts with it
        run_timeout drmqd --data-dir "$BATS_TEST_TMPDIR/data" --port 0
        expect 78
        says 'segment_size'
        [ ! -e "$BATS_TEST_TMPDIR/data" ]
}

@test "what is no configuration at all" {
        for text in 'segment_size' '[log' '=3' '[]'; do
                printf '%s\n' "$text" >"$etc/node1.conf"
                check
                expect 78 && says "$etc/node1.conf:1: "
        done
        printf '[log]\nsegment_size=\0001M\n' >"$etc/node1.conf"
        check
        expect 78 && says "$etc/node1.conf:2: a NUL byte"
        head -c 2M /dev/zero >"$etc/node1.conf"
        check
        expect 78 && says "Cannot read $etc/node1.conf: File too large"
}

@test "values that do not go together" {
        printf '[node]\nlisten=127.0.0.1:9000 127.0.0.1:9000\nadvertise=host:0\n[limits]\nrequest_bytes=17M\n' >"$etc/node1.conf"
        check
        expect 78
        says 'node.listen has 127.0.0.1 twice'
        says 'node.advertise is host:0: nobody can connect to port 0'
        says 'limits.request_bytes is less than two requests of the largest size'
}

@test "a file that is named must be there, and has drop-ins of its own" {
        check --config "$etc/mine"
        expect 78 && says "Cannot read $etc/mine: No such file or directory"
        printf '[topics]\npartitions=many\n' >"$etc/node1.conf"
        mkdir "$etc/mine.d"
        touch "$etc/mine"
        check --config "$etc/mine"
        expect 0 && silent
        printf '[topics]\npartitions=few\n' >"$etc/mine.d/a.conf"
        check --config "$etc/mine"
        expect 78 && says "$etc/mine.d/a.conf:2: \"few\""
}

@test "a pipe is not waited for" {
        mkfifo "$etc/pipe.conf"
        run --separate-stderr -78 timeout 10 drmqd --check-config --config "$etc/pipe.conf"
        # shellcheck disable=SC2154 # bats sets it
        [ "$stderr" = "drmqd: Cannot read $etc/pipe.conf: it is a pipe, not a file" ]
}

@test "wrong usage of the command line is 64, and names the nearest key" {
        check --set log.segmentsize=1M
        expect 64 && says 'no key "log.segmentsize".*did you mean "segment_size" in \[log\]\?'
        check --set log.segment_size
        expect 64 && says 'section.key=value'
        check --set log.segment_size=1X
        expect 64 && says '"1X" is malformed for log.segment_size: it takes a size from 1M to 1G'
        check --listen 'a b'
        expect 64 && says -- '--listen: "a b" is malformed for node.listen'
        check --node a/b
        expect 64 && says -- '--node: "a/b"'
        check --data-dir ''
        expect 64 && says -- '--data-dir'
}

@test "files, drop-ins, environment and command line, each over the one before" {
        name=$(node_name)
        mkdir -p "$etc/$name.conf.d" "$run/$name.conf.d"
        printf '[topics]\npartitions=2\nauto_create=no\n[limits]\nconnections=200\nidle=20s\n[log]\nsegment_size=2M\n' >"$run/$name.conf"
        printf '[limits]\nconnections=300\nidle=21s\n[log]\nsegment_size=3M\n' >"$run/$name.conf.d/10.conf"
        printf '[log]\nsegment_size=9M\n' >"$run/$name.conf.d/20.conf"
        printf '[limits]\nidle=22s\n' >"$etc/$name.conf.d/20.conf"
        DRMQ_LIMITS_IDLE=23s DRMQ_LOG_SYNC=1s DRMQ_METRICS_PARTITIONS=5 DRMQ_NODE_LISTEN=nowhere:1 \
                start --set metrics.partitions=6

        shows topics.auto_create no file "$run/$name.conf:3"
        shows limits.connections 300 file "$run/$name.conf.d/10.conf:2"
        shows log.segment_size 3M file "$run/$name.conf.d/10.conf:5"
        shows limits.idle 23s environment DRMQ_LIMITS_IDLE
        shows log.sync 1s environment DRMQ_LOG_SYNC
        shows metrics.partitions 6 'command line' --set
        shows limits.fetch_bytes 32M default -
        [ "$(drmqctl config show node.listen | cut -f 2)" = "127.0.0.1:0 unix:$BATS_FILE_TMPDIR/n/socket" ]
        log_has "Read configuration $etc/$name.conf.d/20.conf"
        # It goes by them.
        drmqctl topics create wide
        drmqctl topics describe wide --json | jq -e '.partitions | length == 2'
        run_timeout drmq-send no-such-topic x
        expect 1
}

@test "config show: all keys, some of them, JSON, one that is not there" {
        start --set topics.partitions=3
        [ "$(drmqctl config show | wc -l)" = "$(grep -c '^\.It Cm [a-z]*\.[a-z_]*$' "$BATS_TEST_DIRNAME/../man/drmq.conf.5")" ]
        [ "$(drmqctl config show topics.partitions node.id | cut -f 1,2,5 | tr '\t\n' '  ')" = 'topics.partitions 3 yes node.id auto no ' ]
        drmqctl config show topics.partitions --json |
                jq -e '. == {key: "topics.partitions", value: "3", source: "command line", where: "--set",
                        reload: true, pending: null, default: "1"}'
        # what was not said is what it came to
        [ "$(drmqctl config show node.advertise | cut -f 2)" = "$(cat "$(drmqd_dir n)/address")" ]
        run_timeout drmqctl config show topics.partition
        expect 1 && says 'no key topics.partition; did you mean topics.partitions\?'
        run_timeout drmqctl config
        expect 2
}

@test "SIGHUP takes what can be changed, and names what needs a restart" {
        name=$(node_name)
        printf '[topics]\npartitions=2\n[log]\nsegment_size=2M\n' >"$etc/$name.conf"
        start --set limits.idle=7s
        drmqctl topics create before

        printf '[topics]\npartitions=5\n[log]\nsegment_size=4M\nsync=1s\n[limits]\nidle=8s\nconnections=1\n[node]\nlog_level=debug\n' >"$etc/$name.conf"
        reload
        wait_until log_has 'was read anew: 4 keys have another value now'
        shows topics.partitions 5 file "$etc/$name.conf:2"
        shows log.sync 1s file "$etc/$name.conf:5"
        shows log.segment_size 2M file "$etc/$name.conf:4"
        [ "$(drmqctl config show log.segment_size | cut -f 6)" = 4M ]
        shows limits.idle 7s 'command line' --set
        log_has "log.segment_size stays 2M until a restart: it is 4M now \($etc/$name.conf:4\)"
        [ "$(drmqctl status --json | jq -r .sync)" = 1s ]
        drmqctl topics create after
        [ "$(drmqctl topics describe after --json | jq '.partitions | length')" = 5 ]

        # One connection there may be now: a second one is refused while a first one stays.
        drmq-recv after 2>/dev/null >"$BATS_TEST_TMPDIR/out" 3>&- &
        reader=$!
        is_refused() {
                drmqctl --timeout 200ms status >/dev/null 2>&1 || true
                log_has 'refused: there are 1 already'
        }
        wait_until is_refused
        rm "$etc/$name.conf"
        reload
        wait_until drmqctl --timeout 1s status >/dev/null
        kill "$reader"
        wait "$reader" || true
        shows limits.connections 10000 default -
        shows topics.partitions 1 default -
        shows log.sync group default -
        drmqctl status --json | jq -e '.sync == "group"'
}

@test "each key that a reload changes does what it says from then on" {
        local before name pair port reader half

        name=$(node_name)
        start --set log.segment_size=1M
        port=$(cat "$(drmqd_dir n)/address")
        port=${port##*:}
        metric() { drmqctl metrics | sed -n "s/^$1 //p"; }
        # take SECTION KEY=VALUE... — as the only configuration there is.
        take() {
                local n

                n=$(grep -c 'was read anew' "$(drmqd_dir n)/log" || true)
                { echo "[$1]" && printf '%s\n' "${@:2}"; } >"$etc/$name.conf"
                reload
                is_taken() { [ "$(grep -c 'was read anew' "$(drmqd_dir n)/log")" -gt "$n" ]; }
                wait_until is_taken
        }
        fill() { head -c "$1" /dev/urandom | base64 | drmq-send t --batch 64K; }

        take topics auto_create=no
        run_timeout drmq-send none message
        expect 1
        take log sync=never
        echo first | drmq-send t
        [ "$(metric 'drmq_sync_info{mode="never"}')" = 1 ]
        before=$(metric 'drmq_log_syncs_total{shard="1"}')
        fill 10000
        [ "$(metric 'drmq_log_syncs_total{shard="1"}')" = "$before" ]
        take log sync=group
        before=$(metric 'drmq_log_syncs_total{shard="1"}')
        fill 10000
        [ "$(metric 'drmq_log_syncs_total{shard="1"}')" -gt "$before" ]

        take log reserve=3M
        [ "$(metric 'drmq_log_reserve_bytes{shard="1"}')" = $((3 << 20)) ]
        [ "$(metric 'drmq_checkpoint_index{shard="1"}')" = 0 ]
        fill 4M
        [ "$(metric 'drmq_checkpoint_index{shard="1"}')" = 0 ]
        take log checkpoint_size=1M
        fill 4M
        is_written() { [ "$(metric 'drmq_checkpoint_index{shard="1"}')" -gt 0 ]; }
        wait_until is_written
        [ "$(metric 'drmq_log_segments{shard="1"}')" -gt 8 ]
        take log max_bytes=4M
        is_dropped() { [ "$(metric 'drmq_log_segments{shard="1"}')" -le 4 ]; }
        wait_until is_dropped
        take log max_age=1s
        is_open_one() { [ "$(metric 'drmq_log_segments{shard="1"}')" = 1 ]; }
        wait_until is_open_one

        take limits request_bytes=65M fetch_bytes=5M answer_bytes=6M poll_bytes=7M partitions=8 positions=9 connections=99
        for pair in requests_limit_bytes=65 fetches_limit_bytes=5 answers_limit_bytes=6 polls_limit_bytes=7; do
                [ "$(metric "drmq_${pair%=*}")" = $((${pair#*=} << 20)) ]
        done
        [ "$(metric drmq_partitions_limit) $(metric drmq_positions_limit) $(metric drmq_connections_limit)" = '8 9 99' ]
        take limits batch_size=1K
        run_timeout bash -c "head -c 3000 /dev/zero | tr '\\0' x | drmq-send t"
        expect 1 && says 'limits.batch_size'
        take limits snapshots=0
        run_timeout drmq-snapshot create --to "$BATS_TEST_TMPDIR/backup.tar.zst"
        expect 1 && says 'limits.snapshots'
        take limits poll_time=10ms
        before=$(metric 'drmq_requests_total{type="fetch"}')
        drmq-recv t --from end >"$BATS_TEST_TMPDIR/out" 3>&- &
        reader=$!
        asks_again() { [ "$(metric 'drmq_requests_total{type="fetch"}')" -gt $((before + 5)) ]; }
        wait_until asks_again
        kill "$reader"
        wait "$reader" || true
        # Half a request: the default would let it be for longer than the test may take.
        take limits idle=100ms
        exec {half}<>"/dev/tcp/127.0.0.1/$port"
        printf 'GET /' >&"$half"
        timeout 10 cat <&"$half"
        exec {half}>&-

        take node log_level=debug
        wait_until log_has 'node.log_level is debug now, not info'
        printf '[node]\nlog_level=warning\n' >"$etc/$name.conf"
        reload
        shows_it() { shows node.log_level warning file "$etc/$name.conf:2"; }
        wait_until shows_it
        drmqctl topics create unsaid
        run log_has unsaid
        [ "$status" -eq 1 ]
}

@test "a configuration that is wrong is not taken, and nothing of it" {
        name=$(node_name)
        printf '[topics]\npartitions=2\n' >"$etc/$name.conf"
        start
        printf '[topics]\npartitions=3\n[limits]\nidle=soon\n' >"$etc/$name.conf"
        reload
        wait_until log_has 'was not read anew, the old one stays'
        log_has "$etc/$name.conf:4: \"soon\" is malformed for limits.idle"
        shows topics.partitions 2 file "$etc/$name.conf:2"
        # and the next that is right is
        printf '[topics]\npartitions=4\n' >"$etc/$name.conf"
        reload
        wait_until log_has 'was read anew: 1 key has another value now'
        shows topics.partitions 4 file "$etc/$name.conf:2"
}

@test "the manager is told when a reload begins and ends" {
        export NOTIFY_SOCKET=$BATS_TEST_TMPDIR/notify
        perl -MIO::Socket::UNIX -e '
                my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die;
                $| = 1;
                while (defined $s->recv(my $text, 4096)) { print "$text\n--\n" }' "$NOTIFY_SOCKET" >>"$BATS_TEST_TMPDIR/told" 3>&- &
        manager=$!
        wait_until test -S "$NOTIFY_SOCKET"
        start
        wait_until grep -qx READY=1 "$BATS_TEST_TMPDIR/told"
        : >"$BATS_TEST_TMPDIR/told"
        reload
        wait_until grep -qx READY=1 "$BATS_TEST_TMPDIR/told"
        stop_drmqd n
        kill "$manager"
        [ "$(grep -E '^(RELOADING|READY)=' "$BATS_TEST_TMPDIR/told" | tr '\n' ' ')" = 'RELOADING=1 READY=1 ' ]
        grep -A 1 -x RELOADING=1 "$BATS_TEST_TMPDIR/told" | grep -qE '^MONOTONIC_USEC=[0-9]+$'
}

@test "each sample is right, and says something" {
        for sample in "$BATS_TEST_DIRNAME"/../systemd/{node,throughput,latency}.conf; do
                check --config "$sample"
                expect 0 && silent
        done
        start --config "$BATS_TEST_DIRNAME/../systemd/throughput.conf"
        [ "$(drmqctl config show --json | jq -r 'select(.source == "file") | .key' | wc -l)" -ge 3 ]
        echo hello | drmq-send t
        [ "$(all_of t)" = hello ]
        stop_drmqd n
        start --config "$BATS_TEST_DIRNAME/../systemd/latency.conf"
        shows log.sync 100ms file "$BATS_TEST_DIRNAME/../systemd/latency.conf:$(grep -n '^sync' "$BATS_TEST_DIRNAME/../systemd/latency.conf" | cut -d : -f 1)"
        [ "$(drmqctl config show --json | jq -r 'select(.value != .default and .source == "file") | .key' | wc -l)" -ge 3 ]
}

@test "the sample with every key uncommented is the default" {
        sed 's/^#\([a-z]\)/\1/; /data_dir/d; /^listen/d' "$BATS_TEST_DIRNAME/../systemd/node.conf" >"$etc/all.conf"
        check --config "$etc/all.conf"
        expect 0 && silent
}
