# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Helpers of the tool suites. A suite starts one daemon in setup_file() and stops it in teardown_file(); each test has a
# topic of its own. Nothing is shared between suites: data, socket and port are the daemon's own, so they may run beside
# each other.
#
#     load lib/drmq
#     topic=t$BATS_TEST_NUMBER
#
#     setup_file() { start_drmqd; }
#     teardown_file() { stop_drmqd; }

bats_require_minimum_version 1.5.0

# Where a daemon of this suite has its files: $1 tells several apart.
drmqd_dir() {
        echo "$BATS_FILE_TMPDIR/${1:-d}"
}

# start_drmqd_as NAME [OPTION]... — starts a daemon and waits until it serves. Its pid, log and addresses are files in its
# folder.
start_drmqd_as() {
        local name=$1 dir deadline=$((SECONDS + 20))
        shift
        dir=$(drmqd_dir "$name")

        mkdir -p "$dir"
        [ -p "$BATS_FILE_TMPDIR/pause" ] || mkfifo "$BATS_FILE_TMPDIR/pause"
        # Only a descriptor that bats does not wait for stays open.
        XDG_RUNTIME_DIR=$dir drmqd --node "test-${BATS_FILE_TMPDIR//\//-}-$name" --data-dir "$dir/data" --port 0 \
                --listen "unix:$dir/socket" "$@" >"$dir/log" 2>&1 </dev/null 3>&- &
        echo $! >"$dir/pid"
        disown

        until drmqctl -b "unix:$dir/socket" leader >/dev/null 2>&1; do
                if ! kill -0 "$(cat "$dir/pid")" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
                        echo "The daemon does not come up:" >&2
                        cat "$dir/log" >&2
                        return 1
                fi
        done
        sed -n 's/.*Listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$dir/log" | tail -n 1 >"$dir/address"
}

# The suite's daemon, which the tools find by $DRMQ_BROKERS.
start_drmqd() {
        start_drmqd_as d "$@"
        export DRMQ_BROKERS=unix:$BATS_FILE_TMPDIR/d/socket
}

# stop_drmqd [NAME [SIGNAL]] — and waits until it has gone.
stop_drmqd() {
        local pid

        pid=$(cat "$(drmqd_dir "${1:-d}")/pid")
        kill "-${2:-TERM}" "$pid" 2>/dev/null || return 0
        timeout 30 tail -s 0.02 --pid="$pid" -f /dev/null
}

# What a test waits with between two looks.
pause() {
        [ -p "$BATS_FILE_TMPDIR/pause" ] || mkfifo "$BATS_FILE_TMPDIR/pause"
        read -r -t 0.02 _ <>"$BATS_FILE_TMPDIR/pause" || true
}

# wait_until COMMAND... — until it succeeds, 10 seconds at most.
wait_until() {
        local deadline=$((SECONDS + 10))

        until "$@"; do
                [ "$SECONDS" -lt "$deadline" ] || {
                        echo "In vain: $*" >&2
                        return 1
                }
                pause
        done
}

has_lines() { # FILE N
        [ -e "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]
}

# run_timeout COMMAND... — as `run --separate-stderr`, and no tool hangs a suite.
run_timeout() {
        run --separate-stderr timeout --kill-after=5 30 "$@"
}

# expect STATUS — of the last run; shows what it said where that is another.
expect() {
        # shellcheck disable=SC2154 # bats sets them
        [ "$status" -eq "$1" ] || {
                echo "status $status, not $1" >&2
                echo "stdout: $output" >&2
                echo "stderr: $stderr" >&2
                return 1
        }
}

# says PATTERN — stderr of the last run has it, as grep -E takes it.
says() {
        # shellcheck disable=SC2154
        grep -qE -- "$1" <<<"$stderr" || {
                echo "stderr: $stderr" >&2
                return 1
        }
}

silent() {
        # shellcheck disable=SC2154
        [ -z "$stderr" ] || {
                echo "stderr: $stderr" >&2
                return 1
        }
}

# Exactly this on stdout of the last run, but for newlines at its end.
prints() {
        [ "$output" = "$1" ] || {
                diff <(echo "$1") <(echo "$output") >&2
                return 1
        }
}

# The messages of a topic as they are, one a line.
all_of() {
        timeout 30 drmq-recv "$1" -e "${@:2}"
}
