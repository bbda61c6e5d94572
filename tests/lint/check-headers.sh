#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Each header stands alone: it compiles as the only thing a file includes.
. "$(dirname "$0")/tap.bash"

eval "flags=(${LINT_CFLAGS:?is set by make lint})"

files '*.h' | while read -r header; do
        output=$(echo "#include \"$header\"" | "${CC:-cc}" "${flags[@]:?}" -Werror -fsyntax-only -x c - 2>&1) ||
                echo "$header: $(grep -m 1 error <<<"$output")"
done | rule "each header compiles alone"

files 'lib/*.h' 'drmq*/*.h' 'tests/*.h' | while read -r header; do
        [ "$header" = lib/drmq.h ] || grep -q '^#pragma once$' "$header" || echo "$header: no #pragma once"
done | rule "each header says #pragma once"

finish
