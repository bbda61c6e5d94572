#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Events and their fields: messages.h, where they are emitted, the journal's catalog and drmqd(8) say the same.
. "$(dirname "$0")/tap.bash"

expected=$(mktemp)
trap 'rm -f "$expected"' EXIT

# compare LABEL LABEL — with standard input; what differs is printed.
compare() {
        diff --label "$1" --label "$2" -U 0 "$expected" - || true
}

# C files without their comments and texts, a call on one line.
calls() {
        perl -0777 -ne '
                s{/\*.*?\*/}{}gs;
                s{"(?:[^"\\]|\\.)*"}{""}g;
                while (/\b(trace|log_event|log_emit|log_(?:warning|error|notice|oom)\w*)\s*(\((?:[^()]++|(?2))*\))/g) {
                        my ($name, $args) = ($1, $2);
                        $args =~ s/\s+/ /g;
                        print "$ARGV: $name$args\n";
                }' "$@"
}

sed -n 's/^#define DRMQ_MESSAGE_\w* "\([0-9a-f]*\)"$/\1/p' lib/base/messages.h >"$expected"

grep -cv '^[0-9a-f]\{32\}$' "$expected" | grep -vx 0 | rule "each id has 32 hex digits"
sort "$expected" | uniq -d | rule "no two ids are the same"
sed -n 's/^#define \(DRMQ_MESSAGE_\w*\).*/\1/p' lib/base/messages.h | while read -r id; do
        files 'lib/*.c' 'drmqd/*.c' | xargs grep -qw -- "$id" || echo "$id"
done | rule "each id of messages.h is used"
sed -n 's/^-- //p' systemd/drmq.catalog | compare lib/base/messages.h systemd/drmq.catalog |
        rule "the catalog has an entry for each id, in their order"
sed -n 's/^\.It \([0-9a-f]\{32\}\)$/\1/p' man/drmqd.8 | compare lib/base/messages.h man/drmqd.8 |
        rule "drmqd(8) lists each id, in their order"

perl -00 -ne '
        sub judge { print "$id: $what\n" if $id && $n < 2 }
        if (/^-- (\w+)\n/) {
                judge();
                ($id, $n, $what) = ($1, 0, "what it means and what to do are not said");
                /^Subject: \S.*\n/m && /^Defined-By: DRMQ$/m && /^Documentation: man:/m or print "$id: a header is missing\n";
        } elsif ($id) { $n++ }
        END { judge() }' systemd/drmq.catalog | rule "each entry of the catalog has its headers, and says what it means and what to do"
awk 'length > 80 && !/^#/' systemd/drmq.catalog | rule "the catalog fits a terminal"

# The daemon's command line is answered before there is a node.
files 'lib/*.c' 'drmqd/*.c' | grep -vE '^(lib/cli/|lib/base/(logging|trace)\.c|drmqd/main\.c)' | while read -r file; do
        calls "$file" | grep -E 'LOG_(EMERG|ALERT|CRIT|ERR|WARNING|NOTICE)\b|: log_(warning|error|notice|oom)' |
                grep -vE 'LOG_\w+, (DRMQ_MESSAGE_\w+|id),' || true
done | rule "each event from notice up has an id"

sed -n 's/^#define FIELD_.*//; s/^.*\.name = "\(DRMQ_[A-Z]*\)".*/\1/p' lib/base/field.h >"$expected"
sed -n 's/^\.It Va \(DRMQ_[A-Z]*\)$/\1/p' man/drmqd.8 | compare lib/base/field.h man/drmqd.8 |
        rule "drmqd(8) lists each field, in their order"
grep -oE '@[A-Z_]+@' systemd/drmq.catalog | tr -d @ | sort -u | grep -vxFf "$expected" | rule "the catalog names fields that there are"

finish
