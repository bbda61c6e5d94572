#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The simulator: clean runs are clean, a seed is a run to the byte, and its alarms go off: each planted bug
# (lib/base/bug.h) is found by the ordinary run, from no special seed.

bats_require_minimum_version 1.5.0

# found BUG CHECKER... — an ordinary run with the bug planted is stopped by one of these checkers within a minute.
found() {
        local bug=$1 checker
        shift

        run -1 drmq-sim --plant "$bug" --for 60s
        [[ $output =~ FAILED\ checker\ ([a-z]+):.*\;\ replay:\ drmq-sim\ --seed\ [0-9]+\ --plant\ $bug ]]
        checker=${BASH_REMATCH[1]}
        echo "# $bug: found by checker $checker" >&3
        [[ " $* " == *" $checker "* ]]
}

@test "runs without a planted bug are clean" {
        run -0 drmq-sim --first 1 --count 150 --for 40s
        echo "# $output" >&3
        # log.sync at an interval, and never, are among them, and log.max_bytes: both do take something
        [[ $output =~ ^[0-9]+\ runs\ clean:\ [1-9][0-9]*\ messages\ acknowledged.*\ [1-9][0-9]*\ not\ synced\ yet\ and\ lost,\ [1-9][0-9]*\ gone\ by\ retention$ ]]
}

@test "a seed printed twice is the same to the byte, wherever memory lies and whatever is in it" {
        drmq-sim --seed 7 --trace --hash >"$BATS_TEST_TMPDIR/a"
        MALLOC_PERTURB_=171 setarch -R drmq-sim --seed 7 --trace --hash >"$BATS_TEST_TMPDIR/b"
        cmp "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/b"
        [ "$(wc -l <"$BATS_TEST_TMPDIR/a")" -gt 1000 ]

        drmq-sim --seeds 20-25 --hash >"$BATS_TEST_TMPDIR/a"
        MALLOC_PERTURB_=171 drmq-sim --seeds 20-25 --hash >"$BATS_TEST_TMPDIR/b"
        cmp "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/b"
        [ "$(grep -o 'hash .* lines' "$BATS_TEST_TMPDIR/a" | sort -u | wc -l)" -eq 6 ]
}

@test "a failure replays from its seed, with the same words" {
        local again

        run -1 drmq-sim --plant forget-producers --for 60s --quiet
        again=$output
        # shellcheck disable=SC2086 # the replay line is a command
        run -1 ${again#*replay: }
        [ "$output" = "$again" ]
}

@test "planted: a group write is not synced" {
        found skip-fsync acknowledged agree damage durable
}

@test "planted: durable is reported before the sync" {
        found ack-before-fsync acknowledged agree damage durable
}

@test "planted: with log.sync at an interval, what is not synced stays so when its time is" {
        found skip-interval lost
}

@test "planted: a header names as durable what is only written" {
        found name-unsynced acknowledged agree damage durable lost
}

@test "planted: a group's being there counts as proof that what is before it was synced" {
        found trust-later acknowledged agree damage durable lost
}

@test "planted: nothing is zeroed behind a cut" {
        found skip-zeroing acknowledged agree damage durable
}

@test "planted: a length is used before its checksum" {
        found trust-length acknowledged agree damage dense durable
}

@test "planted: the second copy of the hard state is not written" {
        found one-hardstate hardstate start
}

@test "planted: a checkpoint leaves producers out" {
        found forget-producers twice
}

@test "planted: segments go before a checkpoint has all that they mean" {
        found drop-early damage start
}

@test "planted: what is gone is not said" {
        found drop-silently damage retention
}

@test "what is not understood is refused" {
        run -2 drmq-sim --plant no-such-bug
        [[ $output == *"--plant: no-such-bug is not valid"* ]]
        run -2 drmq-sim --seed x
        run -2 drmq-sim --seeds 5-4
        run -2 drmq-sim extra
}
