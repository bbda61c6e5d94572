#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/tap.bash"
need mandoc
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mapfile -t pages < <(files 'man/*.[1-8]')

{ [ ${#pages[@]} -eq 0 ] || mandoc -T lint -W warning "${pages[@]}" || true; } | rule "mandoc finds nothing in man/"

need groff
for page in "${pages[@]}"; do
        groff -k -ww -mdoc -Tutf8 -rLL=78n "$page" 2>&1 >/dev/null
done | rule "groff finds nothing in man/"

# A page that is named is ours, or one of these of others.
others=' fdatasync.2 find.1 fork.2 free.3 pkg-config.1 poll.2 sd-event.3 sd_notify.3 systemd.exec.5 systemd.syntax.7 tar.1 '
sed -n 's/^\.Xr \([^ ]*\) \([1-9]\).*/\1.\2/p' "${pages[@]}" | sort -u | while read -r page; do
        [ -e "man/$page" ] || [[ $others == *" $page "* ]] || echo "there is no page $page"
done | rule "pages that are named are there"

for tool in drmq*/main.c; do
        [ -e "$tool" ] || continue
        tool=${tool%/main.c}
        compgen -G "man/$tool.[18]" >/dev/null || echo "$tool has no page"
done | rule "each tool has a page"

# Every function of drmq.h has a name, a synopsis and a description on one page of section 3; and no page has another one.
declared() {
        echo '#include "drmq.h"' | ${CC:-cc} -E -P -Ilib - | tr '\n' ' ' | grep -oE 'drmq_[a-z0-9_]+ *\([^()]*\)' | sed 's/ *(.*//' | sort -u
}
{
        declared >"$scratch/declared"
        [ "$(wc -l <"$scratch/declared")" -gt 50 ] || echo "drmq.h declares next to nothing?"
        sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \(drmq_[a-z0-9_]*\)\( ,\)*$/\1/p' man/drmq_*.3 |
                grep -vxE 'drmq_(client|producer|consumer|message|admin)' | sort | diff "$scratch/declared" - |
                sed -n 's/^</not in any NAME:/p; s/^>/in a NAME, but not (once) in drmq.h:/p'
        sed -n 's/^\.Fo //p' man/drmq_*.3 | sort | diff "$scratch/declared" - |
                sed -n 's/^</not in any SYNOPSIS:/p; s/^>/in a SYNOPSIS, but not (once) in drmq.h:/p'
        sed -n 's/^\.It Fn //p' man/drmq_*.3 | sed 's/ , Fn /\n/g' | sort -u >"$scratch/described"
        sed '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/d' man/drmq_*.3 | grep -oE '^\.Fn drmq_[a-z0-9_]+' | sed 's/^.Fn //' |
                sort -u >"$scratch/mentioned"
        sort -u "$scratch/described" "$scratch/mentioned" | diff "$scratch/declared" - |
                sed -n 's/^</not described:/p; s/^>/described, but not in drmq.h:/p'
} | rule "the pages have the functions of drmq.h, each once"

# What the library exports are the functions of the header.
grep -oE '^ +drmq_[a-z0-9_]+;' lib/libdrmq.sym | tr -d ' ;' | sort | diff "$scratch/declared" - |
        sed -n 's/^</not in libdrmq.sym:/p; s/^>/in libdrmq.sym, but not (once) in drmq.h:/p' |
        rule "libdrmq.sym names the functions of drmq.h"

finish
