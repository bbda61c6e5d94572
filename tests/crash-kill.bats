#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The daemon is killed with -9 a hundred times under load: what was acknowledged is there, once, in order, and the sender
# never notices more than a pause.

load lib/crash

setup_file() {
        export KILLS=${KILLS:-100}
}

setup() {
        crash_setup
}

teardown() {
        crash_teardown
}

@test "kill -9 under load loses, doubles and reorders nothing" {
        daemon_start
        drmqctl topics create "$topic"
        load_start 50000

        for ((i = 0; i < KILLS; i++)); do
                wait_acked $((RANDOM % 5000 + 1))
                daemon_kill
                daemon_start
        done

        load_stop
        [ "$(acked)" -gt $((KILLS * 10)) ]
        check_prefix "$(acked)"

        kill -TERM "$daemon_pid"
        wait "$daemon_pid"
}
