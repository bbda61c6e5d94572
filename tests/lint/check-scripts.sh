#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/tap.bash"
need shellcheck

mapfile -t scripts < <(files '*.sh' '*.bash' '.ci/run')
mapfile -t suites < <(files '*.bats')

{ [ ${#scripts[@]} -eq 0 ] || shellcheck --format=gcc --external-sources --source-path=SCRIPTDIR "${scripts[@]}" || true; } |
        rule "shellcheck finds nothing in scripts"
# Suites share variables with what they `load`, which shellcheck does not follow.
{ [ ${#suites[@]} -eq 0 ] || shellcheck --format=gcc --severity=warning --exclude=SC2154,SC2034 --shell=bats "${suites[@]}" || true; } |
        rule "shellcheck finds nothing in bats suites"

for script in "${scripts[@]}"; do
        case $script in
        *.bash) ;;
        *) [ -x "$script" ] || echo "$script is not executable" ;;
        esac
done | rule "scripts are executable"

finish
