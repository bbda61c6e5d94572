#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The tables of a format stand in its header and in its page, and say the same in the same order: format.h and
# drmq-log(5), drmq.proto and error.h and drmq-protocol(7).
. "$(dirname "$0")/tap.bash"

# compare LABEL LABEL FILE — with standard input; what differs is printed.
compare() {
        diff --label "$1" --label "$2" -U 0 - "$3" || true
}

page=$(mktemp)
trap 'rm -f "$page"' EXIT

# Offset, size and the first words, up to where one of the two explains more.
perl -Mutf8 -CSD -ne 's/\\\(dq/"/g; print "$1 $2 $3\n" if /^\.It (\d+|\\&\.\.\.) Ta (\d+|\\&\.\.\.) Ta ([\w"]+(?: [\w"]+)?)/' \
        man/drmq-log.5 | sed 's/\\&\.\.\./…/g' >"$page"
perl -Mutf8 -CSD -ne 'print "$1 $2 $3\n" if /^ \* +(\d+|…) +(\d+|…)  ([\w"]+(?: [\w"]+)?)/' lib/log/format.h |
        compare lib/log/format.h man/drmq-log.5 "$page" | rule "drmq-log(5) has the tables of format.h"

perl -ne '
        if (/^\.Sh/) { $on = /MESSAGES/ }
        elsif ($on && /^\.Ss (\w+)/) { print "$1\n" }
        elsif ($on && /^\.It (\d+) Ta (\w+) Ta (\w+(?: \*)?) Ta/) { print "$1 $2 $3\n" }
        elsif ($on && /^\.It (\d+) Ta (\w+) Ta/) { print "$1 $2\n" }' man/drmq-protocol.7 |
        sed -E 's/^([0-9]+ [A-Z]+_[A-Z_]+) .*/\1/' >"$page"
perl -0777 -ne '
        s|//.*||g;
        while (/(?:message|enum)\s+(\w+)\s*\{([^}]*)\}/g) {
                my ($name, $body) = ($1, $2);
                print "$name\n";
                while ($body =~ /(?:(repeated\s+)?(\w+)\s+)?(\w+)\s*=\s*(\d+)\s*;/g) {
                        print $2 ? "$4 $3 $2" . ($1 ? " *" : "") . "\n" : "$4 $3\n";
                }
        }' lib/proto/drmq.proto |
        compare lib/proto/drmq.proto man/drmq-protocol.7 "$page" | rule "drmq-protocol(7) has the messages of drmq.proto"

perl -ne 'if (/^\.Sh/) { $on = /ERROR CODES/ } elsif ($on && /^\.It (\d+) Ta (\w+) Ta (yes|no) Ta (.*)/) { print "$1 $2 $3 $4\n" }' \
        man/drmq-protocol.7 >"$page"
perl -ne 'print "$1 $2 ", $3 eq "true" ? "yes" : "no", " $4\n" if /X\((\d+), (\w+), \w+, (true|false), "([^"]*)"\)/' lib/proto/error.h |
        compare lib/proto/error.h man/drmq-protocol.7 "$page" | rule "drmq-protocol(7) has the errors of error.h"

finish
