#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Snapshots where the disk is small, or loses its power: what is there verifies, and what could not be made leaves nothing
# and holds nothing.

load lib/drmq

setup() {
        [ "$(id -u)" -eq 0 ] || skip "needs root to mount"
        command -v xfs_io >/dev/null || skip "needs xfs_io"
        cd "$BATS_TEST_TMPDIR" || return
        mnt=$BATS_TEST_TMPDIR/mnt
        mkdir -p "$mnt"
        truncate -s "${DISK_SIZE:-64M}" disk.img
        mkfs.ext4 -q -F disk.img
        mount -o loop disk.img "$mnt" || skip "cannot mount a loop device"
        start_drmqd_as d --set log.segment_size=1M
        export DRMQ_BROKERS=unix:$BATS_FILE_TMPDIR/d/socket
        head -c 30000000 /dev/urandom | split -b 1000000 - part-
}

# has_written BYTES PATH PARTIAL — or it is there, or the tool has ended.
has_written() {
        [ -e "$2" ] || ! kill -0 "$tool" 2>/dev/null || [ "$(du -sB 1 "$3" 2>/dev/null | cut -f 1 | grep . || echo 0)" -ge "$1" ]
}

teardown() {
        stop_drmqd d || true
        rm -rf "$BATS_FILE_TMPDIR/d"
        if mountpoint -q "$mnt"; then umount -l "$mnt"; fi
}

@test "an archive and a restore for which there is no room leave nothing" {
        for i in 1 2 3; do drmq-send big --file part-*; done
        run_timeout drmq-snapshot create --to "$mnt/a"
        expect 1
        says 'No space left'
        [ ! -e "$mnt/a" ] && [ ! -e "$mnt/a.partial" ]
        [ -z "$(drmq-snapshot list)" ]

        drmq-snapshot create --to a
        run_timeout drmq-snapshot restore a --data-dir "$mnt/r"
        expect 1
        says 'No space left'
        [ ! -e "$mnt/r" ] && [ ! -e "$mnt/r.partial" ]
        [ "$(df --output=used -k "$mnt" | tail -n 1)" -lt 20000 ]
}

@test "power cuts while an archive is written and brought back: there and whole, or not there" {
        drmq-send topic --file part-*
        drmq-snapshot create --to good
        for ((i = 0; i < ${CUTS:-12}; i++)); do
                drmq-snapshot create --to "$mnt/a" >/dev/null 2>&1 3>&- &
                tool=$!
                wait_until has_written $((i * 2800000)) "$mnt/a" "$mnt/a.partial"
                xfs_io -F -x -c shutdown "$mnt"
                wait $tool && status=0 || status=$?
                umount "$mnt"
                mount -o loop disk.img "$mnt"
                # What was reported as done is there; what is there is whole.
                [ $status != 0 ] || [ -e "$mnt/a" ]
                [ ! -e "$mnt/a" ] || drmq-snapshot verify "$mnt/a"
                rm -f "$mnt"/a*
                drmq-snapshot list | cut -f 1 | xargs -r drmq-snapshot delete
        done
        for ((i = 0; i < ${CUTS:-12}; i++)); do
                drmq-snapshot restore good --data-dir "$mnt/r" >/dev/null 2>&1 3>&- &
                tool=$!
                wait_until has_written $((i * 2800000)) "$mnt/r" "$mnt/r.partial"
                xfs_io -F -x -c shutdown "$mnt"
                wait $tool && status=0 || status=$?
                umount "$mnt"
                mount -o loop disk.img "$mnt"
                [ $status != 0 ] || [ -e "$mnt/r" ]
                if [ -e "$mnt/r" ]; then
                        drmq-snapshot create --dir "$mnt/r" --to copy
                        drmq-snapshot verify copy
                        rm copy
                fi
                rm -rf "$mnt"/r*
        done
}
