#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The folders that reach the world only through struct io: whatever their objects leave undefined is defined by a folder
# that they may use, less what purity.txt forbids of it, or is a function that purity.txt allows.
. "$(dirname "$0")/tap.bash"

build=${DRMQ_BUILD:?is set by make lint}
list=tests/lint/purity.txt

# Patterns of a section of the list, as one extended expression.
section() {
        sed -n "/^\[$1\]/,/^\[/{/^[a-z_]/p}" "$list" | paste -s -d '|' -
}

allowed=$(section allowed)
forbidden=$(section forbidden)

for folder in $(section folders | tr '|' ' '); do
        objects=("$build/obj/$folder"/*.o)
        [ -e "${objects[0]}" ] || continue

        mine=()
        for other in "$folder" $(sed -n "s|^$folder:||p" lib/layers); do
                for object in "$build/obj/$other"/*.o "$build/obj/gen/${other#lib/}"/*.o; do
                        [ ! -e "$object" ] || mine+=("$object")
                done
        done
        defined=$(nm --defined-only --extern-only --format=posix "${mine[@]}" | awk 'NF > 1 { print $1 }' | sort -u)

        for object in "${objects[@]}"; do
                nm -u --format=posix "$object" | awk '{ print $1 }' | while read -r symbol; do
                        if grep -qxE "$forbidden" <<<"$symbol" ||
                                { ! grep -qxF "$symbol" <<<"$defined" && ! grep -qxE "$allowed" <<<"$symbol"; }; then
                                echo "${object#"$build"/obj/} uses $symbol"
                        fi
                done
        done | rule "$folder reaches the world only through struct io"
done

finish
