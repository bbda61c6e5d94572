#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What all tools have in common: --help, --version, what a wrong command line gets, and the exit statuses.

load lib/drmq
topic=t$BATS_TEST_NUMBER

setup_file() { start_drmqd; }
teardown_file() { stop_drmqd; }

tools=(drmqd drmqctl drmq-send drmq-recv)
as=()

# each_tool STATUS [OPTION]... — a small task for each of the three, beside each other, as "${as[@]}" has it; all end with
# STATUS, nothing on stdout and something on stderr.
each_tool() {
        local expected=$1 tool pids=()
        shift

        for command in "drmqctl status" "drmq-send t message" "drmq-recv t -e"; do
                # shellcheck disable=SC2086 # words
                timeout 30 "${as[@]}" $command "$@" >"$BATS_TEST_TMPDIR/out-${command%% *}" 2>"$BATS_TEST_TMPDIR/err-${command%% *}" &
                pids+=($!)
        done
        for tool in drmqctl drmq-send drmq-recv; do
                status=0
                wait "${pids[0]}" || status=$?
                pids=("${pids[@]:1}")
                output=$(cat "$BATS_TEST_TMPDIR/out-$tool") stderr=$(cat "$BATS_TEST_TMPDIR/err-$tool")
                expect "$expected"
                prints ''
                [ -n "$stderr" ]
        done
}

@test "--help is on stdout and fits 80 columns" {
        for tool in "${tools[@]}"; do
                for option in --help -h; do
                        run_timeout "$tool" "$option"
                        expect 0
                        silent
                        [[ $output = "Usage: $tool "* ]]
                        ! grep -E '^.{81,}' <<<"$output"
                done
        done
}

@test "--help works without a daemon, and before anything wrong behind it" {
        DRMQ_BROKERS=unix:/none run_timeout drmq-send --help --frobnicate
        expect 0
}

@test "--version names tool and version" {
        for tool in "${tools[@]}"; do
                run_timeout "$tool" --version
                expect 0
                silent
                [[ $output =~ ^$tool\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
        done
}

@test "an unknown option names itself and points to --help" {
        for tool in "${tools[@]}"; do
                for option in --frobnicate -Y; do
                        run_timeout "$tool" "$option"
                        if [ "$tool" = drmqd ]; then expect 64; else expect 2; fi
                        prints ''
                        says "Unknown option $option; see $tool --help"
                        # shellcheck disable=SC2154 # bats sets it
                        [ "${#stderr_lines[@]}" = 1 ]
                done
        done
}

@test "drmq-send: wrong usage is 2 and sends nothing" {
        usage() {
                run_timeout drmq-send "$@" <<<line
                expect 2
                prints ''
                says "see drmq-send --help"
        }
        usage
        usage 'bad/name'
        usage ..
        usage "$topic" -z brotli
        says "Option -z/--compress: 'brotli' is not one of none, gzip, snappy, lz4, zstd"
        usage "$topic" --acks some
        usage "$topic" --linger soon
        usage "$topic" --batch 1
        usage "$topic" --partition -1
        usage "$topic" --partition x
        usage "$topic" --partitioner random
        usage "$topic" --rate 0
        usage "$topic" -H nothing
        usage "$topic" -H =value
        usage "$topic" -D ''
        usage "$topic" -D '\q'
        usage "$topic" -K ''
        usage "$topic" -k
        says 'Option -k/--key needs KEY'
        usage "$topic" -0 -D x
        says 'exclude each other'
        usage "$topic" --json --framed
        usage "$topic" -k a -K b
        usage "$topic" -0 message
        usage "$topic" --file
        usage "$topic" --acks none --offsets
        usage "$topic" --acks none --atomic

        run_timeout drmqctl topics describe "$topic"
        expect 1
}

@test "drmq-recv: wrong usage is 2" {
        usage() {
                run_timeout drmq-recv "$@"
                expect 2
                prints ''
                says "see drmq-recv --help"
        }
        usage
        usage 'bad name'
        usage "$topic" "$topic"
        says "Topic $topic is named twice"
        usage "$topic" --from nowhere
        says "'nowhere'"
        usage "$topic" --partition 1,x
        usage "$topic" --partition ''
        usage "$topic" -n 0
        usage "$topic" --idle x
        usage "$topic" -f '%q'
        usage "$topic" -f '%'
        usage "$topic" -f '\q'
        usage "$topic" --json -0
        says 'exclude each other'
        usage "$topic" -g me
        says 'group mode, which is not in this version; use --single'
        usage "$topic" --single -g a.b
        usage "$topic" --commit-interval 1s

        drmqctl topics create "$topic" --partitions 2
        usage "$topic" --from 3
        says "Topic $topic has 2 partitions: an offset needs --partition"
}

@test "drmqctl: wrong usage is 2" {
        usage() {
                run_timeout drmqctl "$@"
                expect 2
                prints ''
                says 'see drmqctl --help'
        }
        usage
        usage dance
        says "Unknown verb 'dance'"
        usage topics
        says "'topics' needs one of list, create, describe, alter, delete"
        usage topics drop
        usage topics describe
        usage topics describe a b
        usage topics create
        usage topics create 'a b'
        usage topics create x --partitions 0
        usage topics list --partitions 3
        says "'topics list' takes no --partitions"
        usage status --yes
        usage leader 1 2
}

@test "-b that is no list is wrong usage" {
        for list in '' ',' 'host:port' 'a,,b'; do
                run_timeout drmqctl -b "$list" status
                expect 2
                says 'not a list of addresses'
        done
}

@test "-b wins over DRMQ_BROKERS; of several addresses one is enough" {
        DRMQ_BROKERS=unix:/none run_timeout drmqctl -b "unix:$(drmqd_dir)/socket" status
        expect 0
        run_timeout drmqctl -b "unix:/none,127.0.0.1:1,unix:$(drmqd_dir)/socket" status
        expect 0
}

@test "without -b: the only socket of \$XDG_RUNTIME_DIR/drmq, several are named" {
        # Root's daemons have sockets in /run/drmq, which come first.
        [ -z "$(ls /run/drmq 2>/dev/null)" ] || skip "there are sockets in /run/drmq"
        unset DRMQ_BROKERS
        export XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR
        mkdir "$BATS_TEST_TMPDIR/drmq"
        ln -s "$(drmqd_dir)/socket" "$BATS_TEST_TMPDIR/drmq/one.sock"
        run_timeout drmqctl status
        expect 0
        ln -s "$(drmqd_dir)/socket" "$BATS_TEST_TMPDIR/drmq/two.sock"
        run_timeout drmqctl status
        expect 2
        says 'one\.sock'
        says 'two\.sock'
}

@test "status 5: nobody reachable, in every tool" {
        export DRMQ_BROKERS=unix:$BATS_TEST_TMPDIR/none
        each_tool 5
        grep -q "$BATS_TEST_TMPDIR/none" "$BATS_TEST_TMPDIR"/err-{drmqctl,drmq-send,drmq-recv}
}

@test "status 4: a time limit that passes, in every tool" {
        # Greets as a node does, by saying the same, and is silent then.
        perl -MIO::Socket::UNIX -e '
                my $s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 9) or die;
                alarm 60;
                while (my $c = $s->accept) { push @open, $c; sysread $c, my $greeting, 8; syswrite $c, $greeting }' \
                "$BATS_TEST_TMPDIR/silent" 3>&- &
        perl=$!
        wait_until test -S "$BATS_TEST_TMPDIR/silent"
        export DRMQ_BROKERS=unix:$BATS_TEST_TMPDIR/silent
        each_tool 4 --timeout 200ms
        kill $perl
}

@test "status 6: not permitted, in every tool" {
        mkdir "$BATS_TEST_TMPDIR/closed"
        ln "$(drmqd_dir)/socket" "$BATS_TEST_TMPDIR/closed/socket"
        if [ "$(id -u)" = 0 ]; then
                # The tools themselves must be reachable for whoever runs them.
                cp "$DRMQ_BUILD"/bin/drmq{ctl,-send,-recv} "$BATS_TEST_TMPDIR"
                chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" "${BATS_TEST_TMPDIR%/*}"
                PATH=$BATS_TEST_TMPDIR:$PATH
                as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
                "${as[@]}" drmqctl --version || skip "nobody may not run the tools here"
        fi
        chmod 0 "$BATS_TEST_TMPDIR/closed"
        export DRMQ_BROKERS=unix:$BATS_TEST_TMPDIR/closed/socket
        each_tool 6
        chmod 700 "$BATS_TEST_TMPDIR/closed"
}
