#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/tap.bash"
need mandoc

mapfile -t pages < <(files 'man/*.[1-8]')

{ [ ${#pages[@]} -eq 0 ] || mandoc -T lint -W warning "${pages[@]}" || true; } | rule "mandoc finds nothing in man/"

for tool in drmq*/main.c; do
        [ -e "$tool" ] || continue
        tool=${tool%/main.c}
        compgen -G "man/$tool.[18]" >/dev/null || echo "$tool has no page"
done | rule "each tool has a page"

finish
