#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every #include "…" against lib/layers: a folder includes itself and what its line names, and there are no cycles. Only
# folders whose line names libsystemd include <systemd/…>.
. "$(dirname "$0")/tap.bash"

declare -A may=()
while IFS=: read -r folder rest; do
        case $folder in '' | '#'*) continue ;; esac
        may[$folder]=" $folder $rest "
done <lib/layers

for folder in lib/*/ drmqd/core/ drmq*/; do
        folder=${folder%/}
        [ ! -d "$folder" ] || [ -n "${may[$folder]:-}" ] || echo "$folder has no line in lib/layers"
done | rule "each folder has a line in lib/layers"

for folder in "${!may[@]}"; do
        for other in ${may[$folder]}; do
                [ "$other" = "$folder" ] || echo "$folder $other"
        done
done | tsort 2>&1 >/dev/null | rule "layers have no cycles"

# Prints the folder that an #include names, seen from the include path (lib, the top).
folder_of() {
        case $1 in
        drmq.h) echo public ;;
        */*)
                if [ -d "lib/${1%/*}" ]; then echo "lib/${1%/*}"; else echo "${1%/*}"; fi
                ;;
        *) echo none ;;
        esac
}

files 'lib/*.[ch]' 'drmq*/*.[ch]' | while read -r file; do
        folder=${file%/*}
        [ "$folder" != lib ] || continue
        allowed=${may[$folder]:-}
        while read -r line include; do
                case $include in
                '<systemd/'*)
                        [[ $allowed = *' libsystemd '* ]] || echo "$file:$line: $folder may not include $include"
                        ;;
                '"'*)
                        used=$(folder_of "${include//\"/}")
                        case $used in
                        none) echo "$file:$line: $include without its folder" ;;
                        public) ;;
                        *) [[ $allowed = *" $used "* ]] || echo "$file:$line: $folder may not include $include" ;;
                        esac
                        ;;
                esac
        done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]+([<"][^>"]*[>"]).*/\1/;T;=;p' "$file" | paste -d ' ' - -)
done | rule "each #include is one that lib/layers allows"

finish
