#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/tap.bash"
need shellcheck

mapfile -t scripts < <(files '*.sh' '.ci/run')
mapfile -t suites < <(files '*.bats' '*.bash')

{ [ ${#scripts[@]} -eq 0 ] || shellcheck --format=gcc --external-sources --source-path=SCRIPTDIR "${scripts[@]}" || true; } |
        rule "shellcheck finds nothing in scripts"
# Suites share variables with what they load, which shellcheck does not follow; bats ends a test at the first failure.
{ [ ${#suites[@]} -eq 0 ] || shellcheck --format=gcc --severity=warning --exclude=SC2154,SC2034,SC2164 "${suites[@]}" || true; } |
        rule "shellcheck finds nothing in bats suites and what they load"

for script in "${scripts[@]}"; do
        [ -x "$script" ] || echo "$script is not executable"
done | rule "scripts are executable"

finish
