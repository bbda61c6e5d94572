#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/golden/make.sh NAME BIN — makes tests/golden/NAME with the programs in BIN: a node's directory as that build writes
# it, once stopped and once killed, and what is in it. Made once for each version of the format, by the build that wrote
# it, and then kept: every later build has to read it (tests/golden.bats).
#
#     stopped.tar.gz, killed.tar.gz   the directory "data"
#     messages.json                   all messages, topic by topic, as drmq-recv --json prints them
#     topics                          topics and their numbers of partitions
#     position                        the offset at which the group "me" goes on in "numbers"
set -euo pipefail

name=${1:?usage: make.sh NAME BIN}
bin=$(realpath "${2:?usage: make.sh NAME BIN}")
here=$(realpath "$(dirname "$0")")
mkdir "$here/$name"
work=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon"; rm -rf "$work"' EXIT
export PATH=$bin:$PATH XDG_RUNTIME_DIR=$work DRMQ_BROKERS=unix:$work/socket

start() {
        drmqd --node golden --data-dir "$work/data" --port 0 --listen "unix:$work/socket" --set log.segment_size=1M \
                >"$work/log" 2>&1 &
        daemon=$!
        until drmqctl leader >"$work/leader" 2>&1; do sleep 0.1; done
}

stop() { # SIGNAL
        kill "-$1" "$daemon"
        wait "$daemon" || true
        daemon=
}

start
drmqctl topics create wide --partitions 3
drmqctl topics create many --partitions 2
drmqctl topics alter many --partitions 4
drmqctl topics create gone
drmq-send gone of no use
drmqctl topics delete gone --yes
seq 2000 | drmq-send numbers
for codec in none gzip snappy lz4 zstd; do
        seq 100 | drmq-send "codec.$codec" -z "$codec"
done
seq 300 | sed 's/.*/key&:value &/' | drmq-send wide -K :
drmq-send special --json <<'EOF'
{"key":"k","value":"with headers","headers":{"a":"1","b":["2","3"]},"timestamp":1700000000000}
{"key":"k","value":null,"timestamp":1700000000001}
{"value":"","timestamp":1700000000002}
{"key_base64":"/wA=","value_base64":"AAECAwQF","timestamp":1700000000003}
EOF
head -c 4000000 /dev/zero | tr '\0' 'x' | fold -w 999 | drmq-send bulk
drmq-recv numbers --single -g me -n 700 >"$work/numbers"
stop TERM

start
seq 2001 2010 | drmq-send numbers
seq 10 | drmq-send --partition 3 many
drmqctl topics list | cut -f 1,2 >"$here/$name/topics"
while read -r topic _; do
        if [ "$topic" = bulk ]; then
                drmq-recv "$topic" -e -f '%o %v\n' | sha256sum
        else
                drmq-recv "$topic" -e --json | sort
        fi
done <"$here/$name/topics" | gzip -n9 >"$here/$name/messages.json.gz"
echo 700 >"$here/$name/position"
sleep 0.5 # what is committed is named
stop KILL
tar -C "$work" -czf "$here/$name/killed.tar.gz" data

start
stop TERM
tar -C "$work" -czf "$here/$name/stopped.tar.gz" data
ls -l "$here/$name"
