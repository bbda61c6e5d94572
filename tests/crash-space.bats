#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A disk that is filled and freed under load, on a real small ext4 file system: messages are refused before it is full and
# sent when there is space again, none lost, none doubled; what needs no space goes on meanwhile. And retention under load:
# the folder stays within its bound, and a kill in the middle of dropping loses nothing that was not to go.

load lib/crash

setup_file() {
        export FILLS=${FILLS:-10}
        export KILLS=${KILLS:-20}
}

setup() {
        crash_setup
        [ "$(id -u)" -eq 0 ] || skip "needs root to mount"
        mnt=$dir/mnt
        data=$mnt/data
        mkdir -p "$mnt"
        truncate -s 512M "$dir/disk.img"
        mkfs.ext4 -q -F -m 0 "$dir/disk.img"
        mount -o loop "$dir/disk.img" "$mnt" || skip "cannot mount a loop device"
}

teardown() {
        crash_teardown
        if mountpoint -q "$mnt"; then umount -l "$mnt"; fi
}

# As load_start(), of half a kilobyte each: the number comes first.
load_start_large() { # messages a second
        : >"$dir/acked"
        { seq 1 1000000000 2>/dev/null | awk '{ printf "%d %0500d\n", $1, 0 }' 2>/dev/null |
                exec drmq-send "$topic" --offsets --rate "$1" --timeout 120s >"$dir/acked" 2>"$dir/send.log"; } 3>&- &
        load_pid=$!
        until load_pid=$(pgrep -P "$load_pid" -x drmq-send); do load_pid=$!; done
}

# Until it is so, 60 seconds at most; each try asks the daemon.
until_status() { # PATTERN
        local deadline=$((SECONDS + 60))

        until drmqctl status 2>/dev/null | grep -q "$1"; do
                [ "$SECONDS" -lt "$deadline" ] || { drmqctl status; return 1; }
        done
}

n_free() {
        df --output=avail -B1 "$mnt" | tail -n 1
}

# Leaves so many bytes; 0: takes whatever there is to be had.
fill() { # bytes
        local n

        n=$(($(n_free) - $1))
        # the log grows meanwhile
        if [ "$n" -gt 0 ]; then fallocate -l "$n" "$mnt/filler" 2>/dev/null || true; fi
        if [ "$1" -eq 0 ]; then dd if=/dev/zero bs=4k oflag=append conv=notrunc of="$mnt/filler" 2>/dev/null || true; fi
}

# Whether the log begins anywhere and goes on, each number once, at least to $1; prints where it begins.
check_suffix() { # acknowledged
        drmq-recv "$topic" -e --timeout 30s | awk -v acked="$1" '
                NR == 1 { first = $1 }
                $1 != first + NR - 1 { printf "behind %d comes %d\n", first + NR - 2, $1; bad = 1; exit 1 }
                END { if (bad) exit 1; if (first + NR - 1 < acked) { printf "%d acknowledged, %d to %d there\n", acked, first, first + NR - 1; exit 1 } print first }'
}

# Of the data shard: segments, index files, what is prepared.
n_log_bytes() {
        # a file may go while du looks
        { du -cb "$data"/shard-1 2>/dev/null || true; } | tail -n 1 | cut -f 1
}

@test "a disk that is filled and freed under load costs no message" {
        daemon_options=(--set log.segment_size=1M --set log.reserve=16M)
        daemon_start
        drmqctl topics create "$topic" other
        seq 100 | drmq-send other
        load_start_large 10000

        for ((i = 1; i <= FILLS; i++)); do
                drmqctl topics create "gone$i"
                wait_acked 3000
                # once to the reserve, once to the last byte
                fill $((i % 2 * 8 * 1024 * 1024))
                until_status "^State.*degraded.*space"
                n=$(acked)

                # what is there is read; while there is a reserve, positions move and topics go
                check_prefix "$n"
                [ "$(drmq-recv other -n 10 | tail -n 1)" = 10 ]
                if ((i % 2)); then
                        [ "$(drmq-recv other --single -g "g$i" -n 10 | tail -n 1)" = 10 ]
                        [ "$(drmq-recv other --single -g "g$i" -n 1)" = 11 ]
                        drmqctl topics delete "gone$i" --yes
                fi

                rm "$mnt/filler"
                until_status "^State.*healthy"
                wait_acked 1000
        done

        kill -TERM "$load_pid"
        until ! kill -0 "$load_pid" 2>/dev/null; do :; done
        check_prefix "$(acked)"

        # It said so, once each time.
        cat "$dir/send.log"
        n=$(grep -c "no more messages are taken" "$dir/send.log")
        [ "$n" -ge 1 ]
        [ "$n" -le "$FILLS" ]
        grep -q "$data" "$dir/send.log"

        # And so did the daemon, and that there is space again.
        [ "$(grep -c "new entries are refused\|new messages are refused" "$dir/daemon.log")" -ge "$FILLS" ]
        [ "$(grep -c "There is space again" "$dir/daemon.log")" -ge "$FILLS" ]
}

@test "log.max_bytes keeps the folder bounded under load" {
        daemon_options=(--set log.segment_size=1M --set log.max_bytes=16M)
        daemon_start
        drmqctl topics create "$topic"
        load_start_large 20000

        for ((i = 0; i < 20; i++)); do
                wait_acked 5000
                n=$(n_log_bytes)
                # What goes waits for a checkpoint, and the load does not wait for it: a slow machine is further behind, but
                # not by as much again.
                [ "$n" -le $((2 * 16 * 1024 * 1024)) ] || { echo "$n bytes"; ls -l "$data/shard-1"; false; }
        done

        kill -TERM "$load_pid"
        until ! kill -0 "$load_pid" 2>/dev/null; do :; done
        n=$(acked)
        first=$(check_suffix "$n")
        echo "$first of $n"
        [ "$first" -gt 50000 ]
        [ $((n - first)) -gt 15000 ] # most of the 16 MiB is there

        # Everything says the same.
        [ "$(drmqctl offsets "$topic" --at beginning --json | sed 's/.*"offset":\([0-9]*\).*/\1/')" = $((first - 1)) ]
        drmqctl topics describe "$topic" | grep -q "$((first - 1))"
        drmqctl status
        run drmq-recv "$topic" --from 5 -n 1
        [ "$status" -eq 1 ]
        [[ $output == *"$topic/0: offset 5 is gone, the first is $((first - 1)) and the next to come $n"* ]]
}

@test "kill -9 in the middle of dropping loses nothing that was to stay" {
        daemon_options=(--set log.segment_size=1M --set log.max_bytes=4M)
        daemon_start
        drmqctl topics create "$topic"
        load_start_large 20000

        for ((i = 0; i < KILLS; i++)); do
                wait_acked $((RANDOM % 4000 + 1000))
                daemon_kill
                daemon_start # asks for the status: damage is said there
        done

        kill -TERM "$load_pid"
        until ! kill -0 "$load_pid" 2>/dev/null; do :; done
        first=$(check_suffix "$(acked)")
        [ "$first" -gt $((KILLS * 500)) ]
        [ "$(n_log_bytes)" -le $(((4 + 4) * 1024 * 1024)) ]
}
