#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Metrics and health: that the text is of its format, that the figures are those of what was sent, and what HTTP clients of
# every kind get.

load lib/drmq
topic=t$BATS_TEST_NUMBER

setup_file() { start_drmqd --set limits.idle=500ms; }
teardown_file() { stop_drmqd; }

url() { # PATH [DAEMON]
        echo "http://$(cat "$(drmqd_dir "${2:-d}")/address")/$1"
}

port() {
        local address

        address=$(cat "$(drmqd_dir)/address")
        echo "${address##*:}"
}

# metric JQ [OPTION]... — the sum of the samples that the filter selects; nothing where there is none.
metric() {
        drmqctl "${@:2}" metrics --json | jq -s "[.[] | select($1) | .value] | add // empty"
}

# raw FORMAT — sends what printf makes of it, prints what comes until the node ends the connection.
raw() {
        local fd

        exec {fd}<>"/dev/tcp/127.0.0.1/$(port)"
        # shellcheck disable=SC2059
        printf "$1" >&"$fd"
        timeout 10 cat <&"$fd"
        exec {fd}>&-
}

# ---- The text ----

@test "the text is of the format, over HTTP and from drmqctl" {
        seq 10 | drmq-send "$topic"
        curl -sS "$(url metrics)" >"$BATS_TEST_TMPDIR/http"
        drmqctl metrics >"$BATS_TEST_TMPDIR/ctl"
        "$BATS_TEST_DIRNAME/lib/check-metrics.pl" <"$BATS_TEST_TMPDIR/http"
        "$BATS_TEST_DIRNAME/lib/check-metrics.pl" <"$BATS_TEST_TMPDIR/ctl"
        diff <(grep '^#' "$BATS_TEST_TMPDIR/http") <(grep '^#' "$BATS_TEST_TMPDIR/ctl")
        diff <(sed -n 's/^\([^# ]*\) .*/\1/p' "$BATS_TEST_TMPDIR/http") <(sed -n 's/^\([^# ]*\) .*/\1/p' "$BATS_TEST_TMPDIR/ctl")
        for name in drmq_messages_produced_total drmq_messages_consumed_total drmq_raft_state drmq_log_size_bytes; do
                grep -q "^$name" "$BATS_TEST_TMPDIR/http"
        done
}

@test "promtool accepts it" {
        promtool=$("$BATS_TEST_DIRNAME/lib/promtool.sh") || skip "promtool is not here (tests/lib/promtool.sh --fetch)"
        seq 10 | drmq-send "$topic"
        drmqctl metrics | "$promtool" check metrics
}

@test "the checker refuses what is not of the format" {
        drmqctl metrics >"$BATS_TEST_TMPDIR/good"
        refuses() { # WHAT SED-SCRIPT
                sed "$2" "$BATS_TEST_TMPDIR/good" >"$BATS_TEST_TMPDIR/bad"
                ! cmp -s "$BATS_TEST_TMPDIR/good" "$BATS_TEST_TMPDIR/bad"
                run "$BATS_TEST_DIRNAME/lib/check-metrics.pl" <"$BATS_TEST_TMPDIR/bad"
                [ "$status" = 1 ]
                grep -q "$1" <<<"$output"
        }
        refuses 'without its HELP' '/^# HELP drmq_topics /d'
        refuses 'not of the family' '/^# TYPE drmq_topics /d; /^# HELP drmq_topics /d'
        refuses 'two TYPE lines' '/^# \(HELP\|TYPE\) drmq_partitions /{s//# \1 drmq_topics /}; s/^drmq_partitions /drmq_topics /'
        refuses 'neither HELP' 's/^drmq_topics .*/&\n/'
        refuses 'value' 's/^\(drmq_topics\) .*/\1 NaN/'
        refuses 'labels' 's/shard="1"/shard=1/'
        refuses 'twice' 's/^drmq_topics .*/&\n&/'
        refuses '_total' 's/drmq_duplicate_batches_total/drmq_duplicate_batches/'
        refuses 'base unit' 's/drmq_uptime_seconds/drmq_uptime_ms/'
        refuses 'not a name of ours' 's/drmq_topics/topics/'
        refuses 'not cumulative' 's/^\(drmq_fsync_seconds_bucket{shard="1",le="0.00005"}\) .*/\1 999999999/'
        refuses 'without buckets' '/^drmq_fsync_seconds_bucket.*Inf/d'
        refuses 'what +Inf has' 's/^\(drmq_fsync_seconds_count{shard="1"}\) .*/\1 999999999/'
        refuses 'one _sum' '/^drmq_fsync_seconds_sum/d'
        refuses 'below 0' 's/^\(drmq_duplicate_batches_total\) .*/\1 -1/'
        run "$BATS_TEST_DIRNAME/lib/check-metrics.pl" < <(head -c -1 "$BATS_TEST_TMPDIR/good")
        [ "$status" = 1 ]
        grep -q 'no line feed' <<<"$output"
}

@test "drmqd(8) lists every metric, with its type and its labels" {
        # So that there is a partition.
        seq 1 | drmq-send "$topic"
        drmqctl metrics | perl -ne '
                if (/^# TYPE (\S+) (\S+)/) { push @names, $1; $types{$1} = $2; $family = $1 }
                elsif (/^[a-z]\w*\{(.*)\}/) {
                        my $l = $1;
                        while ($l =~ /(\w+)="/g) { next if $1 eq "le" || $seen{$family}{$1}++; push @{$labels{$family}}, $1 }
                }
                END {
                        for (@names) {
                                my @l = @{$labels{$_} // []};
                                print "$_ $types{$_}", (@l ? ": " . join(", ", @l) : ""), "\n";
                        }
                }' >"$BATS_TEST_TMPDIR/says"
        sed -n 's/^\.It Cm \(drmq_[a-z_]*\) Pq \(.*\)/\1 \2/p' "$BATS_TEST_DIRNAME/../man/drmqd.8" >"$BATS_TEST_TMPDIR/page"
        [ "$(wc -l <"$BATS_TEST_TMPDIR/page")" -gt 50 ]
        diff "$BATS_TEST_TMPDIR/says" "$BATS_TEST_TMPDIR/page"
}

@test "--json: an object for each sample" {
        run_timeout drmqctl metrics --json
        expect 0
        jq -se 'all(.[]; (.name | startswith("drmq_")) and (.labels | type) == "object" and (.value | type) == "number" and
                (.type | IN("counter", "gauge", "histogram")))' <<<"$output" >/dev/null
        [ "${#lines[@]}" = "$(drmqctl metrics | grep -vc '^#')" ]
        jq -se 'any(.[]; .name == "drmq_raft_term" and .labels == {"shard": "1"} and .type == "gauge" and .value >= 1)' <<<"$output"
        jq -se 'any(.[]; .name == "drmq_fsync_seconds_bucket" and .labels == {"shard": "1", "le": "+Inf"})' <<<"$output"
        run_timeout drmqctl -b "unix:$BATS_TEST_TMPDIR/none" metrics
        expect 5
}

# ---- The figures ----

@test "messages and bytes, in and out, of each partition" {
        drmqctl topics create "$topic" --partitions 3
        for p in 0 1 2; do
                seq $((1000 * (p + 1))) | drmq-send "$topic" --partition $p
        done
        for p in 0 1 2; do
                n=$((1000 * (p + 1)))
                of=".labels == {topic: \"$topic\", partition: \"$p\"}"
                [ "$(metric ".name == \"drmq_messages_produced_total\" and $of")" = $n ]
                [ "$(metric ".name == \"drmq_messages_consumed_total\" and $of")" = 0 ]
        done
        all_of "$topic" >/dev/null
        all_of "$topic" --partition 1 >/dev/null
        # Whole batches go out, and what is fetched ahead of the end of a reader counts as sent.
        [ "$(metric ".name == \"drmq_messages_consumed_total\" and .labels.topic == \"$topic\" and .labels.partition == \"0\"")" = 1000 ]
        [ "$(metric ".name == \"drmq_messages_consumed_total\" and .labels.topic == \"$topic\" and .labels.partition == \"1\"")" = 4000 ]

        bytes=$(drmqctl topics describe "$topic" --json | jq .bytes)
        [ "$(metric ".name == \"drmq_bytes_produced_total\" and .labels.topic == \"$topic\"")" = "$bytes" ]
        [ "$(metric ".name == \"drmq_bytes_consumed_total\" and .labels.topic == \"$topic\" and .labels.partition != \"1\"")" -lt "$bytes" ]
}

@test "what is timed is counted: produce, fetch, fsync, checkpoint; and who is refused" {
        start_drmqd_as timed --set log.checkpoint_size=1M --set limits.connections=2
        b=unix:$(drmqd_dir timed)/socket
        address=$(cat "$(drmqd_dir timed)/address")
        n() { metric ".name == \"drmq_$1\" and (.labels.${2:-shard} // \"${3:-}\") == \"${3:-}\"" -b "$b"; }
        produced=$(n produce_seconds_count) asked=$(n requests_total type produce)
        for i in 1 2 3 4 5; do
                echo "$i" | drmq-send -b "$b" "$topic"
        done
        [ "$(n produce_seconds_count)" -ge $((produced + 5)) ]
        [ $(($(n produce_seconds_count) - produced)) = $(($(n requests_total type produce) - asked)) ]
        jq -en "$(n produce_seconds_sum) > 0"

        [ "$(n fetch_seconds_count)" = 0 ]
        all_of "$topic" -b "$b" >/dev/null
        [ "$(n fetch_seconds_count)" -ge 1 ]
        [ "$(n fetch_seconds_count)" -le "$(n requests_total type fetch)" ]

        [ "$(n fsync_seconds_count shard 1)" -ge 5 ]
        [ "$(n fsync_seconds_count shard 1)" = "$(n log_syncs_total shard 1)" ]
        jq -en "$(n fsync_seconds_sum shard 1) > 0"

        [ "$(n checkpoint_seconds_count shard 1)" = 0 ]
        head -c 4M /dev/urandom | base64 | drmq-send -b "$b" "$topic" --batch 64K
        is_written() { [ "$(n checkpoint_seconds_count shard 1)" -ge 1 ]; }
        wait_until is_written
        jq -en "$(n checkpoint_seconds_sum shard 1) > 0"
        [ "$(n checkpoint_index shard 1)" -gt 0 ]

        [ "$(n connections_refused_total)" = 0 ]
        exec {x}<>"/dev/tcp/${address%:*}/${address##*:}" {y}<>"/dev/tcp/${address%:*}/${address##*:}"
        run drmqctl -b "$b" --timeout 200ms status
        [ "$status" -ne 0 ]
        exec {x}>&- {y}>&-
        is_counted() { [ "$(n connections_refused_total)" -ge 1 ]; }
        wait_until is_counted
        stop_drmqd timed
}

@test "past metrics.partitions there is one series for all; a deleted topic stays in the sum" {
        start_drmqd_as few --set metrics.partitions=2
        b=unix:$(drmqd_dir few)/socket
        for i in 1 2 3 4; do
                seq $((i * 100)) | drmq-send -b "$b" "few-$i"
        done
        n='.name == "drmq_messages_produced_total"'
        [ "$(metric "$n" -b "$b")" = 1000 ]
        [ "$(metric "$n and .labels.topic == \"few-1\"" -b "$b")" = 100 ]
        [ -z "$(metric "$n and .labels.topic == \"few-3\"" -b "$b")" ]
        [ "$(metric "$n and .labels == {}" -b "$b")" = 700 ]
        drmqctl -b "$b" topics delete few-1 few-4 --yes
        [ "$(metric "$n" -b "$b")" = 1000 ]
        [ "$(metric "$n and .labels == {deleted: \"yes\"}" -b "$b")" = 100 ]
        seq 5 | drmq-send -b "$b" few-3
        [ "$(metric "$n and .labels.topic == \"few-3\"" -b "$b")" = 5 ]
        [ "$(metric "$n" -b "$b")" = 1005 ]
        drmqctl -b "$b" metrics | "$BATS_TEST_DIRNAME/lib/check-metrics.pl"
        stop_drmqd few
}

@test "errors are counted by their code" {
        before=$(metric '.name == "drmq_errors_total" and .labels.code == "TOPIC_EXISTS"')
        drmqctl topics create "$topic"
        run drmqctl topics create "$topic"
        [ "$status" = 1 ]
        [ "$(metric '.name == "drmq_errors_total" and .labels.code == "TOPIC_EXISTS"')" = $((before + 1)) ]
}

@test "connections: open, accepted, ended by cause" {
        n() { metric ".name == \"drmq_connections$1\" and (.labels == {} or .labels.cause == \"$2\")"; }
        open=$(n '') garbage=$(n _ended_total protocol) accepted=$(n _accepted_total)
        exec {a}<>"/dev/tcp/127.0.0.1/$(port)"
        is_open() { [ "$(n '')" = $((open + 1)) ]; }
        wait_until is_open
        printf 'no such protocol' >&"$a"
        timeout 10 cat <&"$a" >"$BATS_TEST_TMPDIR/out" || true
        exec {a}>&-
        [ ! -s "$BATS_TEST_TMPDIR/out" ]
        is_closed() { [ "$(n '')" = "$open" ]; }
        wait_until is_closed
        [ "$(n _ended_total protocol)" = $((garbage + 1)) ]
        [ "$(n _accepted_total)" -gt "$accepted" ]
}

@test "the process: memory, processor time, descriptors, disk" {
        metrics=$(drmqctl metrics --json)
        for name in drmq_process_resident_memory_bytes drmq_process_cpu_seconds_total drmq_process_open_files \
                drmq_process_files_limit drmq_memory_allocated_bytes drmq_disk_free_bytes drmq_disk_total_bytes \
                drmq_uptime_seconds drmq_ready_seconds; do
                jq -se "any(.[]; .name == \"$name\" and .value > 0)" <<<"$metrics"
        done
        pid=$(cat "$(drmqd_dir)/pid")
        resident=$(jq -s '.[] | select(.name == "drmq_process_resident_memory_bytes").value' <<<"$metrics")
        shown=$(($(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status") * 1024))
        [ "$resident" -gt $((shown / 2)) ] && [ "$resident" -lt $((shown * 2)) ]
}

# ---- HTTP ----

@test "curl: metrics, health, HEAD, what is not there, and over the socket" {
        [ "$(curl -sS -o "$BATS_TEST_TMPDIR/out" -w '%{http_code} %{content_type}' "$(url metrics)")" = \
                '200 text/plain; version=0.0.4; charset=utf-8' ]
        [ "$(curl -sS "$(url health)")" = ok ]
        [ "$(curl -sS --http1.0 "$(url health)")" = ok ]
        [ "$(curl -sS --unix-socket "$(drmqd_dir)/socket" http://node/health)" = ok ]
        [ "$(curl -sS -o /dev/null -w '%{http_code}' "$(url nothing)")" = 404 ]
        [ "$(curl -sS -o /dev/null -w '%{http_code}' -X POST --data-binary @"$BATS_TEST_FILENAME" "$(url metrics)")" = 405 ]
        [ "$(curl -sS -o /dev/null -w '%{http_code}' -H "X: $(printf 'x%.0s' {1..10000})" "$(url metrics)")" = 431 ]
        curl -sSI "$(url metrics)" | grep -q '^Content-Length: [1-9][0-9]*'
        # Two requests: the second one on a connection of its own.
        [ "$(curl -sS "$(url health)" "$(url health)")" = $'ok\nok' ]
}

@test "a request by hand, until the end of the stream" {
        raw 'GET /health HTTP/1.1\r\n\r\n' >"$BATS_TEST_TMPDIR/out"
        head -n 1 "$BATS_TEST_TMPDIR/out" | grep -q '^HTTP/1.1 200 OK'
        [ "$(tail -n 1 "$BATS_TEST_TMPDIR/out")" = ok ]
        raw 'GET /health HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n' >"$BATS_TEST_TMPDIR/out"
        [ "$(grep -c '^HTTP/1.1' "$BATS_TEST_TMPDIR/out")" = 1 ]
        raw 'GET /health HTTP/9.9\r\n\r\n' | head -n 1 | grep -q '^HTTP/1.1 505'
        raw 'GET /health\r\n\r\n' | head -n 1 | grep -q '^HTTP/1.1 400'
        raw 'GET /\0health HTTP/1.1\r\n\r\n' | head -n 1 | grep -q '^HTTP/1.1 400'
        [ -z "$(raw 'SSH-2.0-OpenSSH_9.2\r\n')" ]
        [ -z "$(raw '\0\0\0\0\0\0\0\0\0\0\0\0')" ]
}

@test "a request in single bytes" {
        text=$'GET /health HTTP/1.1\r\nHost: x\r\n\r\n'
        exec {a}<>"/dev/tcp/127.0.0.1/$(port)"
        for ((i = 0; i < ${#text}; i++)); do
                printf '%s' "${text:i:1}" >&"$a"
        done
        [ "$(timeout 10 cat <&"$a" | tail -n 1)" = ok ]
        exec {a}>&-
}

@test "half a request ends after limits.idle, also one that goes on byte by byte" {
        n() { metric '.name == "drmq_connections_ended_total" and .labels.cause == "idle"'; }
        before=$(n)
        [ -z "$(raw 'GET /metr')" ]
        [ "$(n)" = $((before + 1)) ]

        exec {a}<>"/dev/tcp/127.0.0.1/$(port)"
        printf 'GET /metrics HTTP/1.1\r\nX: ' >&"$a"
        deadline=$((SECONDS + 10))
        (
                trap '' PIPE
                while printf x >&"$a" && [ "$SECONDS" -lt "$deadline" ]; do
                        pause
                done
        ) 2>/dev/null || true
        exec {a}>&-
        [ "$SECONDS" -lt "$deadline" ]
        [ "$(n)" = $((before + 2)) ]
}

@test "garbage and half requests, many at once, disturb nobody" {
        fds=()
        for i in {1..200}; do
                exec {a}<>"/dev/tcp/127.0.0.1/$(port)"
                fds+=("$a")
                case $((i % 4)) in
                0) printf 'GET /metrics HTTP/1.1\r\nHo' >&"$a" ;;
                1) printf 'DRM' >&"$a" ;;
                2) printf 'GET /metrics HTTP/1.1\r\n\r\n' >&"$a" ;;
                3) head -c 2000 /dev/urandom >&"$a" || true ;;
                esac
        done
        seq 1000 | drmq-send "$topic"
        all_of "$topic" | cmp - <(seq 1000)
        [ "$(curl -sS "$(url health)")" = ok ]
        for a in "${fds[@]}"; do
                exec {a}>&-
        done
        only_one() { [ "$(metric '.name == "drmq_connections"')" = 1 ]; }
        wait_until only_one
        [ "$(metric '.name == "drmq_answers_used_bytes"')" = 0 ]
}

# ---- Health ----

@test "a damaged end is told by health" {
        start_drmqd_as damaged
        b=unix:$(drmqd_dir damaged)/socket
        for i in 1 2 3; do
                echo "message $i" | drmq-send -b "$b" "$topic"
        done
        stop_drmqd damaged KILL
        log=$(echo "$(drmqd_dir damaged)"/data/shard-1/*1.log)
        # Within the last group write's header.
        pos=$(grep -obUa DRGW "$log" | tail -n 1 | cut -d: -f1)
        printf X | dd of="$log" bs=1 seek=$((pos + 2)) conv=notrunc status=none
        # Nobody leads that shard: start_drmqd_as() would wait for it in vain.
        drmqd --node "damaged-$$" --data-dir "$(drmqd_dir damaged)/data" --port 0 --listen "$b" \
                >"$(drmqd_dir damaged)/log" 2>&1 </dev/null 3>&- &
        echo $! >"$(drmqd_dir damaged)/pid"
        disown
        wait_until curl -s -o /dev/null --unix-socket "${b#unix:}" http://node/health
        run_timeout curl -sS -o "$BATS_TEST_TMPDIR/out" -w '%{http_code}' --unix-socket "${b#unix:}" http://node/health
        expect 0
        prints 503
        [ "$(cat "$BATS_TEST_TMPDIR/out")" = 'shard 1 takes no messages: its end is damaged' ]
        [ "$(metric '.name == "drmq_healthy"' -b "$b")" = 0 ]
        [ "$(metric '.name == "drmq_shard_writable" and .labels.shard == "1"' -b "$b")" = 0 ]
        stop_drmqd damaged
}
