#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every group write is synced: what the node says of itself (group writes, syncs), and what strace counts.
. "$(dirname "$0")/bench.bash"
bench_begin syncs "$@"

command -v strace >/dev/null || die "strace is missing"
messages=$((messages / 10))
lines "$messages" "$work/lines"
start_node node
drmqctl topics create lines >/dev/null

counts() { # group writes and syncs of all shards
        node_status '[.shards[] | .group_writes, .syncs] | [.[0] + .[2], .[1] + .[3]] | @tsv'
}

# A node at rest has written all that it wants to: two looks at it are the same.
settled_counts() {
        local before after

        after=$(counts)
        until [ "${before:-}" = "$after" ]; do
                before=$after
                sleep 0.2
                after=$(counts)
        done
        echo "$after"
}

read -r writes_before syncs_before <<<"$(settled_counts)"
strace -f -y -e trace=fdatasync,fsync,sync_file_range,pwrite64,pwritev,pwritev2 -o "$work/trace" -p "$node_pid" 2>"$work/strace.log" &
tracer=$!
started+=("$tracer")
until grep -q attached "$work/strace.log"; do sleep 0.05; done
drmq-send lines <"$work/lines"
read -r writes_after syncs_after <<<"$(settled_counts)"
kill -INT "$tracer"
wait_gone "$tracer"

writes=$((writes_after - writes_before))
# A call that another thread interrupts takes two lines; the first has the file's name.
calls() { # CALL — on segments that are in use
        grep -cE "$1\([0-9]+<[^>]*/[0-9]+\.log>" "$work/trace" || true
}
of_files() {
        grep -oE "(fdatasync|fsync|sync_file_range|pwrite64|pwritev2?)\([0-9]+<[^>]*>" "$work/trace" |
                sed -E 's/\([0-9]+<.*\/([^/]*)>/ \1/; s/[0-9]{10,}/N/' | sort | uniq -c
}
of_files | while read -r line; do note "$line"; done

figure "group writes (status), $messages lines" - "$writes"
figure "syncs (status)" "=$writes" $((syncs_after - syncs_before))
figure "fdatasync of segments (strace) per group write" ">=1" "$(calc "$(calls 'f(data)?sync') / $writes")"
