#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Clients that do a node no good, over real sockets: each ends alone, in time, and a witness that was there before goes on.
# The crowds are in crash-limits.bats.

load lib/drmq
topic=t$BATS_TEST_NUMBER

setup_file() { start_drmqd --set limits.idle=300ms --set limits.connections=300; }
teardown_file() { stop_drmqd; }

hostile() { # WHAT [ARGUMENT]...
        timeout 60 "$BATS_TEST_DIRNAME/lib/hostile.pl" "$(cat "$(drmqd_dir)/address")" "$@"
}

# metric NAME — its value; with labels as it stands in the text.
metric() {
        drmqctl metrics | awk -v name="$1" '$1 == name { print $2 }'
}

# Somebody who has sent, and sends on the same connection when all is over.
begin() {
        mkfifo "$BATS_TEST_TMPDIR/to"
        drmq-send --linger=0 "$topic" <"$BATS_TEST_TMPDIR/to" 3>&- &
        witness=$!
        exec {to}>"$BATS_TEST_TMPDIR/to"
        echo before >&"$to"
        wait_until eval '[ "$(all_of "$topic")" = before ]'
}

# The witness' connection still works, and nobody else's is left.
goes_on() {
        echo after >&"$to"
        exec {to}>&-
        wait "$witness"
        [ "$(all_of "$topic")" = $'before\nafter' ]
        wait_until eval '[ "$(metric drmq_connections)" = 1 ]' # the one that asks
}

between() { # LOW N HIGH
        [ "$1" -le "$2" ] && [ "$2" -le "$3" ]
}

@test "frames that lie about a length end their connection alone" {
        begin
        [ "$(hostile lies)" = 'ended 45, answered 3' ]
        [ "$(metric 'drmq_connections_ended_total{cause="protocol"}')" -ge 30 ]
        goes_on
}

@test "a frame that comes byte by byte is listened to for its time, and no longer" {
        begin
        read -r _ ms < <(hostile drip frame)
        between 300 "$ms" 4000
        [ "$(metric 'drmq_connections_ended_total{cause="idle"}')" -ge 1 ]
        goes_on
}

@test "so is an HTTP request, and a greeting" {
        begin
        for how in http greeting; do
                read -r _ ms < <(hostile drip $how)
                between 280 "$ms" 4000
        done
        goes_on
}

@test "garbage ends its connection, HTTP or not" {
        begin
        for bytes in 'GET\n\n' 'GET /metrics\r\n\r\n' 'GET /metrics HTTP/9.9\r\n\r\n' 'GET  HTTP/1.1\r\n\r\n' \
                'GET / HTTP/1.1\r\n: \r\n\r\n' 'GET /\0 HTTP/1.1\r\n\r\n' 'HEAD /../../etc HTTP/1.1\r\n\r\n' \
                'POST /metrics HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n' 'GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n' \
                'GET ' 'DRMQ' 'DRMQ\2\1\0\0' 'DRMQ\1\1\0\0garbage garbage garbage garbage' '\26\3\1\2' '\n'; do
                # shellcheck disable=SC2059
                read -r _ ms < <(printf "$bytes" | hostile bytes)
                between 0 "$ms" 5000
        done
        { printf 'GET /'; head -c 100000 /dev/zero | tr '\0' a; } | hostile bytes
        for seed in 1 2 3; do
                openssl enc -aes-128-ctr -K 0 -iv $seed -in /dev/zero 2>/dev/null | head -c 5000 | hostile bytes
        done
        goes_on
}

@test "half frames hold no more than they sent" {
        begin
        before=$(metric drmq_memory_allocated_bytes)
        mkfifo "$BATS_TEST_TMPDIR/crowd"
        hostile crowd 250 halves <"$BATS_TEST_TMPDIR/crowd" >"$BATS_TEST_TMPDIR/out" 3>&- &
        exec {crowd}>"$BATS_TEST_TMPDIR/crowd"
        wait_until has_lines "$BATS_TEST_TMPDIR/out" 1
        exec {crowd}>&-
        wait_until eval '[ "$(metric drmq_connections)" -le 2 ]' # hung up on
        [ $(($(metric drmq_memory_allocated_bytes) - before)) -lt 100000 ]
        goes_on
}

@test "connections past the limit are refused, counted, and told of once" {
        begin
        mkfifo "$BATS_TEST_TMPDIR/crowd"
        hostile crowd 290 idle <"$BATS_TEST_TMPDIR/crowd" >"$BATS_TEST_TMPDIR/out" 3>&- &
        client=$!
        exec {crowd}>"$BATS_TEST_TMPDIR/crowd"
        wait_until has_lines "$BATS_TEST_TMPDIR/out" 1
        refused=$(metric drmq_connections_refused_total)
        # 290, the witness, and as many of these as there is room for
        [ "$(hostile extra 30)" = 'refused 30' ] # some only after the time for a greeting
        [ $(($(metric drmq_connections_refused_total) - refused)) -eq 21 ]
        [ "$(grep -c 'connections were refused: there are 300 already' "$(drmqd_dir)/log")" -eq 1 ]
        echo >&"$crowd"
        wait "$client"
        grep -qx 'stood 290' "$BATS_TEST_TMPDIR/out"
        goes_on
}

# ---- The page ----

@test "each limit names its metrics on its page, and they are there" {
        drmqctl metrics >"$BATS_TEST_TMPDIR/metrics"
        perl -ne '$key = $1 if /^\.It Cm (\S+)/; $key = "" if /^\.(El|Ss|Sh)/;
                next if $key !~ /^limits\./ || !/^Metrics:/;
                print "$key $1\n" while /(drmq_\w+)/g' "$BATS_TEST_DIRNAME/../man/drmq.conf.5" >"$BATS_TEST_TMPDIR/page"
        diff <(cut -d' ' -f1 "$BATS_TEST_TMPDIR/page" | sort -u) \
                <(drmqctl config show --json | jq -r 'select(.key | startswith("limits.")).key' | sort)
        while read -r key name; do
                grep -qE "^$name( |\\{)" "$BATS_TEST_TMPDIR/metrics" || {
                        echo "$key: there is no $name" >&2
                        return 1
                }
                if [[ $name == *_limit* ]]; then
                        grep -q "^# HELP $name .*$key" "$BATS_TEST_TMPDIR/metrics" || {
                                echo "$name does not name $key" >&2
                                return 1
                        }
                fi
        done <"$BATS_TEST_TMPDIR/page"
        # Each has a limit among them.
        [ "$(grep _limit "$BATS_TEST_TMPDIR/page" | cut -d' ' -f1 | sort -u | wc -l)" -eq \
                "$(cut -d' ' -f1 "$BATS_TEST_TMPDIR/page" | sort -u | wc -l)" ]
}
