#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Snapshots: how long the node takes to make one; an archive out and back against tar and zstd -1 on the same files, in
# turn. -n gives the number of 100-byte lines that are sent 20 times before: 10 GB by default. Needs three times that on the
# disk.
. "$(dirname "$0")/bench.bash"
bench_begin snapshot "$@"
cp "$bin/drmq-snapshot" "$work/bin/"

lines "$messages" "$work/lines"
bytes=$(($(stat -c %s "$work/lines") * 20))
free=$(df --output=avail -B 1 "$work" | tail -n 1)
[ "$free" -gt $((bytes * 3)) ] || die "there is too little space for three times $bytes bytes"

start_node node
for ((i = 0; i < 20; i++)); do
        cat "$work/lines"
done | drmq-send snapshot
rm "$work/lines"
sync -f "$work"

# milliseconds COMMAND... — how long it takes.
milliseconds() {
        local begin=$EPOCHREALTIME

        "$@" >/dev/null || die "$1 failed"
        calc "($EPOCHREALTIME - $begin) * 1000"
}

# What clients wait for, and what the node says of itself. Something is sent before each: there is a segment to close.
for ((i = 0; i < 5; i++)); do
        echo "$i" | drmq-send snapshot
        milliseconds drmq-snapshot create --name "s$i" >>"$work/made"
        [ "$i" = 4 ] || drmq-snapshot delete "s$i"
done
sed -n 's/.*The snapshot s[0-9] was made:.* in \([0-9]*\) us/\1/p' "$work/node.log" | awk '{ print $1 / 1000 }' >"$work/inside"

held=$work/node/snapshots/s4
out_tar() { tar -C "$held" -cf - . | zstd -1 -q -o "$work/tar.zst"; }
out_ours() { drmq-snapshot create --to "$work/ours.zst"; }
# A restore is on the disk when it is done: so is this.
back_tar() {
        mkdir "$work/back-tar" && zstd -d -q -c "$work/tar.zst" | tar -xf - -C "$work/back-tar" && sync -f "$work"
}
back_ours() { drmq-snapshot restore "$work/ours.zst" --data-dir "$work/back-ours"; }

for ((i = 0; i < rounds; i++)); do
        for what in tar ours; do
                milliseconds "out_$what" >>"$work/out-$what"
        done
        for what in tar ours; do
                milliseconds "back_$what" >>"$work/back-$what.ms"
                rm -rf "$work/back-$what"
                sync -f "$work"
        done
        note "round $i: $(stat -c %s "$work/tar.zst") and $(stat -c %s "$work/ours.zst") bytes"
        milliseconds drmq-snapshot verify "$work/ours.zst" >>"$work/verify"
        rm "$work/tar.zst" "$work/ours.zst"
done

# shellcheck disable=SC2046 # a number a line
middle() { median $(cat "$1"); }
note "$bytes bytes sent; $(du -sb "$held" | cut -f 1) in a snapshot of $(find "$held" -type f | wc -l) files"
note "out: tar and zstd $(middle "$work/out-tar") ms, ours $(middle "$work/out-ours") ms"
note "back: tar and zstd $(middle "$work/back-tar.ms") ms, ours $(middle "$work/back-ours.ms") ms"
note "verify: $(middle "$work/verify") ms"
figure "a snapshot, as the node counts it, slowest of 5" "<100" "$(sort -g "$work/inside" | tail -n 1)" ms
figure "a snapshot, as a client waits for it, median" "<150" "$(middle "$work/made")" ms
figure "an archive out, against tar | zstd -1" ">=0.7" "$(calc "$(middle "$work/out-tar") / $(middle "$work/out-ours")")" times
figure "and back, against zstd -d | tar -x, both synced" ">=0.7" \
        "$(calc "$(middle "$work/back-tar.ms") / $(middle "$work/back-ours.ms")")" times
