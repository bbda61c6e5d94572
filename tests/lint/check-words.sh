#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Words that have no place in the tree, and the licence line that every source begins with. The patterns are written so
# that this file does not match them.
. "$(dirname "$0")/tap.bash"

# grep's 1 is "nothing found".
search() {
        files | grep -v '^LICENSE$' | xargs -r -d '\n' grep -nIE "$1" -- || true
}

search '(/w[o]rk/|\.\./s[h]ared|\bs[u]b-?agent|[i]ssue [0-9])' | rule "nothing refers to what is outside of the tree"
search '\b(F[I]XME|X[X]X|H[A]CK)\b|[n]ot (yet )?implemented|[u]nimplemented' | rule "nothing is left unfinished"

{ files 'tests/*.bats' 'tests/*.bash' 'tests/*.sh' | grep -vE '^tests/(bench/|golden/make.sh)' | xargs -r -d '\n' grep -nE '^[^#]*\b[s]leep +[0-9.]+' -- || true
} | rule "no test waits for a fixed time"

files '*.[ch]' | while read -r file; do
        [ "$(head -n 1 "$file")" = '/* SPDX-License-Identifier: Apache-2.0 */' ] || echo "$file"
done | rule "each C file begins with the licence line"

files '*.c' '*.h' '*.bats' '*.sh' '*.bash' Makefile | xargs -r -d '\n' grep -nE '[[:blank:]]+$' -- |
        cut -d : -f 1,2 | rule "no line ends in blanks"

finish
