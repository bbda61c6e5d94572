#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A daemon that did a bit of everything and is stopped leaves nothing behind: no memory, no descriptor, no error that
# valgrind sees, and a log of which the next start reads nothing.

load lib/crash

setup() {
        crash_setup
        command -v valgrind >/dev/null || skip "needs valgrind"
}

teardown() {
        crash_teardown
}

@test "valgrind finds no leak, no open descriptor and no error in a daemon" {
        valgrind --error-exitcode=99 --leak-check=full --show-leak-kinds=all --track-fds=yes --log-file="$dir/valgrind" \
                "$daemon" --data-dir "$data" --node "crash-$$" --listen "$broker" 2>>"$dir/daemon.log" 3>&- &
        daemon_pid=$!
        daemon_wait
        drmqctl topics create wide --partitions 4 --timeout 60s
        seq 20000 | drmq-send "$topic" --timeout 60s
        seq 1000 | drmq-send wide -z zstd --timeout 60s
        [ "$(drmq-recv "$topic" -e --timeout 60s | wc -l)" -eq 20000 ]
        drmq-recv "$topic" --single -g me -n 10 --timeout 60s
        drmqctl offsets "$topic" --at -1h --timeout 60s
        drmqctl topics delete wide --yes --timeout 60s
        # A stranger, who is hung up on.
        head -c 1000 /dev/urandom | perl -MIO::Socket::UNIX -e '
                alarm 20;
                my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die;
                local $/;
                syswrite $s, scalar <STDIN>;
                sysread $s, my $answer, 1;' "$dir/d.sock"

        kill -TERM "$daemon_pid"
        wait "$daemon_pid"
        cat "$dir/valgrind"
        grep -q 'ERROR SUMMARY: 0 errors' "$dir/valgrind"
        grep -q 'All heap blocks were freed' "$dir/valgrind"
        # Each descriptor that is open at the end came from whoever started it.
        [ "$(grep -c '== Open ' "$dir/valgrind")" -eq "$(grep -c '<inherited from parent>' "$dir/valgrind")" ]

        daemon_start
        grep 'the start read 0 entries' "$dir/daemon.log"
}
