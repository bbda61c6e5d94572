# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the lint scripts share. Each script holds rules of the house and prints TAP: a rule is kept when nothing was found.

set -eu
shopt -s lastpipe
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

n_rules=0
n_broken=0

# A tool that is missing must not look like a rule that is kept.
need() {
        command -v "$1" >/dev/null || {
                echo "Bail out! $1 is missing"
                exit 1
        }
}

# What was found against the rule comes on standard input, a line each.
rule() {
        local name=$1 found

        found=$(cat)
        n_rules=$((n_rules + 1))
        if [ -z "$found" ]; then
                echo "ok $n_rules - $name"
                return
        fi
        echo "# ${found//$'\n'/$'\n'# }"
        echo "not ok $n_rules - $name"
        n_broken=$((n_broken + 1))
}

# What git knows and what is new; not what git ignores. Works in an unpacked archive too.
files() {
        if git rev-parse --git-dir >/dev/null 2>&1; then
                git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
                        [ ! -f "$file" ] || echo "$file"
                done
        else
                local pattern
                for pattern in "$@"; do
                        find . -path ./build -prune -o -type f -path "./${pattern#./}" -print | sed 's|^\./||'
                done
        fi
}

finish() {
        if [ "$n_rules" -eq 0 ]; then
                echo "1..0 # SKIP nothing to look at yet"
                return
        fi
        echo "1..$n_rules"
        [ "$n_broken" -eq 0 ]
}
