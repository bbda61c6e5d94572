#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The power of the disk is cut thirty times under load: an ext4 file system is shut down without its journal being flushed
# (FS_IOC_SHUTDOWN), so that what was not synced is gone, as ext4 leaves it. Built with the sync skipped, the same test fails.

load lib/crash

setup_file() {
        export CUTS=${CUTS:-30}
}

setup() {
        crash_setup
        [ "$(id -u)" -eq 0 ] || skip "needs root to mount"
        command -v xfs_io >/dev/null || skip "needs xfs_io"
        mnt=$dir/mnt
        data=$mnt/data
        mkdir -p "$mnt"
        truncate -s 1G "$dir/disk.img"
        mkfs.ext4 -q -F "$dir/disk.img"
        mount -o loop "$dir/disk.img" "$mnt" || skip "cannot mount a loop device"
}

teardown() {
        crash_teardown
        if mountpoint -q "$mnt"; then umount -l "$mnt"; fi
}

# From here on every write gets EIO, and what was not synced is lost with the mount.
power_cut() {
        n_acked=$(acked)
        xfs_io -F -x -c shutdown "$mnt"
        daemon_kill
        umount "$mnt"
        mount -o loop "$dir/disk.img" "$mnt"
}

@test "a power cut under load loses nothing that was acknowledged" {
        daemon_start
        drmqctl topics create "$topic"
        load_start 50000

        for ((i = 0; i < CUTS; i++)); do
                wait_acked $((RANDOM % 8000 + 1))
                power_cut
                daemon_start
                check_prefix "$n_acked"
        done

        load_stop
        check_prefix "$(acked)"
}

# Microseconds since 1970.
now() { echo "${EPOCHREALTIME/[.,]/}"; }

@test "with log.sync=1s a power cut takes the last second at most, and no more than the end" {
        daemon_options=(--set log.sync=1s)
        lost=no
        for ((i = 0; i < (CUTS + 5) / 6; i++)); do
                daemon_start
                [ "$(drmqctl status --json | jq -r .sync)" = 1s ]
                drmqctl topics create "$topic" --if-not-exists
                load_start 20000
                wait_acked $((RANDOM % 8000 + 1))
                n_old=$(acked)
                since=$(now)
                until [ $(($(now) - since)) -gt 1500000 ]; do wait_acked 1000; done
                power_cut
                kill -KILL "$load_pid"
                wait "$load_pid" || true

                daemon_start
                check_prefix "$n_old"
                n=$(drmq-recv "$topic" -e --timeout 30s | wc -l)
                echo "# $n_acked acknowledged, $n_old of them a second before the cut, $n there" >&3
                if [ "$n" -lt "$n_acked" ]; then lost=yes; fi
                daemon_kill
                rm -rf "${mnt:?}"/data
        done
        [ "$lost" = yes ] # else it is no test
}

@test "the test notices when the sync is skipped" {
        daemon=$DRMQ_BUILD/planted/bin/drmqd
        daemon_options=(--plant skip-fsync)
        lost=no
        for ((i = 0; i < CUTS; i++)); do
                daemon_start
                drmqctl topics create "$topic" --if-not-exists
                load_start 50000
                wait_acked $((RANDOM % 8000 + 1))
                power_cut
                kill -KILL "$load_pid"
                wait "$load_pid" || true
                if ! daemon_start || ! check_prefix "$n_acked"; then
                        lost=yes
                        break
                fi
                daemon_kill
                rm -rf "${mnt:?}"/data
        done
        [ "$lost" = yes ]
}
