#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# 10,000 topics: made, what is resident then, and what writing to all of them in turn costs against writing as many
# messages to one, at the same linger. -n is divided by 5: 1,000,000 messages in a round.
. "$(dirname "$0")/bench.bash"
bench_begin topics "$@"

n_topics=10000
messages=$((messages / 5))

start_node node
seq -f topic-%.0f "$n_topics" >"$work/names"
create() {
        drmqctl topics create - <"$work/names" >/dev/null
}
created=$(seconds create)
[ "$(drmqctl topics list | wc -l)" -eq "$n_topics" ] || die "not all topics are there"
resident=$(memory "$node_pid" VmRSS)

objects() { # NUMBER-OF-TOPICS
        awk -v n="$messages" -v topics="$1" 'BEGIN {
                pad = sprintf("%91s", ""); gsub(/ /, "x", pad)
                for (i = 0; i < n; i++)
                        printf "{\"topic\":\"topic-%d\",\"value\":\"%09d%s\"}\n", i % topics + 1, i, pad
        }'
}
objects 1 >"$work/one"
objects "$n_topics" >"$work/all"

for ((round = 1; round <= rounds; round++)); do
        one+=" $(seconds drmq-send --json topic-1 <"$work/one")"
        all+=" $(seconds drmq-send --json topic-1 <"$work/all")"
done

# shellcheck disable=SC2086 # a number a round
{
        figure "$n_topics topics created" "<2" "$created" s
        figure "resident with $n_topics topics" "<50" "$(calc "$resident / 1024")" MiB
        figure "resident at most after writing to all" - "$(calc "$(memory "$node_pid" VmHWM) / 1024")" MiB
        figure "to one topic, as JSON" - "$(per_second "$messages" $one)" msgs/s
        figure "to all in turn, as JSON" - "$(per_second "$messages" $all)" msgs/s
        figure "to all / to one, time" "<2" "$(calc "$(median $all) / $(median $one)")"
}
