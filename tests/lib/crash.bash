# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Helpers of the crash tests: one daemon that is killed, or loses its power, under load, and the proof that nothing that
# was acknowledged is lost, doubled or out of order. Sourced by tests/crash-*.bats.
#
# The load is `drmq-send --offsets` of ascending numbers into one partition: the k-th line of its output says that number
# k is acknowledged, so the log must begin with 1..k, each once.

topic=numbers

crash_setup() {
        dir=$BATS_FILE_TMPDIR
        data=$dir/data
        broker=unix:$dir/d.sock
        export DRMQ_BROKERS=$broker
        export XDG_RUNTIME_DIR=$dir
        daemon=$DRMQ_BUILD/bin/drmqd
        daemon_options=()
}

# Starts the daemon on $data; it is up when `drmqctl status` answers.
daemon_start() {
        "$daemon" --data-dir "$data" --node "crash-$$" --listen "$broker" "${daemon_options[@]}" 2>>"$dir/daemon.log" 3>&- &
        daemon_pid=$!
        daemon_wait
}

# Each try waits for a node that is not there yet, for two seconds or so.
daemon_wait() {
        local i

        for ((i = 0; i < 15; i++)); do
                if drmqctl status >"$dir/status" 2>&1; then return 0; fi
                kill -0 "$daemon_pid" 2>/dev/null || return 1
        done
        return 1
}

daemon_kill() {
        kill -KILL "$daemon_pid" 2>/dev/null || true
        wait "$daemon_pid" 2>/dev/null || true
}

# What a test that failed may have left; the last daemon is killed, so its socket stays.
crash_teardown() {
        kill -KILL ${load_pid:+"$load_pid"} "$daemon_pid" 2>/dev/null || true
        wait 2>/dev/null || true
        rm -f "/run/drmq/crash-$$.sock"
}

# Sends ascending numbers until it is stopped; $dir/acked has a line for each acknowledged one.
load_start() { # messages a second
        : >"$dir/acked"
        seq 1 1000000000 2>/dev/null | drmq-send "$topic" --offsets --rate "$1" --timeout 60s >"$dir/acked" 2>"$dir/send.log" 3>&- &
        load_pid=$!
}

load_stop() {
        kill -TERM "$load_pid"
        wait "$load_pid"
}

# Whole lines so far.
acked() {
        wc -l <"$dir/acked"
}

# Waits until so many more lines are there.
wait_acked() { # lines
        [ "$(timeout 30 tail -n "+$(($(acked) + 1))" -f "$dir/acked" | head -n "$1" | wc -l)" -eq "$1" ]
}

# Whether the log begins with 1..$1, each once and in order; prints what is wrong.
check_prefix() { # acknowledged
        drmq-recv "$topic" -e --timeout 30s | awk -v acked="$1" '
                $1 != NR { printf "message %d is \"%s\"\n", NR, $1; bad = 1; exit 1 }
                END { if (!bad && NR < acked) { printf "%d acknowledged, %d there\n", acked, NR; exit 1 } }'
}
