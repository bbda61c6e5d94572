#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/tap.bash"
need clang-format

files '*.[ch]' | xargs -r clang-format --dry-run 2>&1 | sed -n 's/ code should be clang-formatted.*//p' |
        cut -d : -f 1,2 | rule "clang-format would change nothing (make format)"

finish
