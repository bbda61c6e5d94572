# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A daemon under tests/manager, which plays systemd's part. What it says is $managed/said, a JSON object a line; what the
# daemon writes to its standard error is $managed/stderr. Needs tests/lib/drmq.bash.
#
#     manager_command=()                # or what is run in place of drmqd
#     manager_start --watchdog 500000 -- --data-dir "$BATS_TEST_TMPDIR/data" …
#     tell start
#     wait_said '.notify == ["READY=1"]'

manager_start() { # [OPTION OF MANAGER]... -- [OPTION OF DRMQD]...
        local options=() command=(drmqd)

        while [ "$1" != -- ]; do
                options+=("$1")
                shift
        done
        shift
        [ ${#manager_command[@]} -eq 0 ] || command=("${manager_command[@]}")
        managed=$BATS_TEST_TMPDIR/managed
        mkdir -p "$managed"
        rm -f "$managed"/*
        [ -p "$BATS_FILE_TMPDIR/pause" ] || mkfifo "$BATS_FILE_TMPDIR/pause"
        mkfifo "$managed/orders"
        XDG_RUNTIME_DIR=$managed "$DRMQ_BUILD/tests/manager/manager" "${options[@]}" --stderr "$managed/stderr" \
                "${command[@]}" "$@" \
                <"$managed/orders" >"$managed/said" 2>"$managed/errors" 3>&- &
        manager_pid=$!
        exec 7>"$managed/orders"
}

# And whatever runs under it.
manager_stop() {
        exec 7>&-
        [ -z "${manager_pid:-}" ] || wait "$manager_pid" 2>/dev/null || true
        manager_pid=
}

tell() {
        echo "$*" >&7
}

# said FILTER [N] — whether jq's filter holds for something that was said, N times at least.
said() {
        [ "$(jq -c -R 'fromjson? | select('"$1"')' "$managed/said" | wc -l)" -ge "${2:-1}" ]
}

wait_said() {
        wait_until said "$@" || {
                cat "$managed/said" "$managed/stderr" "$managed/errors" >&2
                return 1
        }
}

# The pid of the last daemon that was started.
daemon_pid() {
        jq -R 'fromjson? | .started // empty' "$managed/said" | tail -n 1
}

# Where the daemon listens by TCP.
daemon_address() {
        sed -n 's/.*Listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$managed/stderr" | tail -n 1
}
