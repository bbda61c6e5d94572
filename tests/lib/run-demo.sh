#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make run` shows: a node with its data under build/run, a real file piped through it, and how to go on. The node
# stays up; the next `make run` replaces it and keeps the data; `make stop` (run-demo.sh --stop) ends it.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=${DRMQ_BUILD:-$PWD/build}/bin
run=build/run
socket=$run/drmqd.sock
file=README.md
export DRMQ_BROKERS=unix:$socket

# The pid in the file may be somebody else's by now: the program tells.
running_pid() {
        local pid

        pid=$(cat "$run/drmqd.pid" 2>/dev/null) || return 1
        [[ $(readlink "/proc/$pid/exe") == *"/bin/drmqd"* ]] || return 1
        echo "$pid"
}

stop() {
        local pid

        pid=$(running_pid) || return 0
        kill "$pid"
        timeout 60 tail -s 0.1 --pid="$pid" -f /dev/null || {
                echo "Node $pid does not stop; see $run/drmqd.log" >&2
                exit 1
        }
        rm -f "$run/drmqd.pid"
        echo "Stopped the node (pid $pid)."
}

if [ "${1:-}" = --stop ]; then
        stop
        exit
fi

mkdir -p "$run"
stop
rm -f "$socket"

# Port 9092 where nobody answers there, else the next.
port=9092
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        port=$((port + 1))
done

setsid "$bin/drmqd" --node demo --data-dir "$run/data" --listen "unix:$socket" --listen "127.0.0.1:$port" \
        >"$run/drmqd.log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$run/drmqd.pid"

deadline=$((SECONDS + 30))
until "$bin/drmqctl" status --timeout 1s >/dev/null 2>&1; do
        if [ ! -e "/proc/$pid" ] || [ "$SECONDS" -ge "$deadline" ]; then
                echo "The node does not come up. Its log, $run/drmqd.log:" >&2
                cat "$run/drmqd.log" >&2
                exit 1
        fi
done

n=$(grep -c '' "$file")
echo "A node runs (pid $pid), data in $run/data, on unix:$socket and 127.0.0.1:$port."
echo
echo "\$ drmq-send demo < $file"
"$bin/drmq-send" demo <"$file"
echo "\$ drmq-recv demo --from -$n -e | diff - $file"
"$bin/drmq-recv" demo --from "-$n" -e | diff - "$file"
echo "The same $n lines came back, from a log that was synced before drmq-send returned."
echo
"$bin/drmqctl" status

cat <<TXT

Go on by hand:
    export PATH="\$PWD/${bin#"$PWD"/}:\$PATH" DRMQ_BROKERS=127.0.0.1:$port
    seq 1000000 | drmq-send numbers --progress
    drmq-recv numbers -e | sha256sum
    drmqctl topics list

make run starts it anew with the same data, make stop stops it.
TXT
