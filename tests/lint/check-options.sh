#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The options that a tool's --help, its page and its completions name are the same.
. "$(dirname "$0")/tap.bash"

build=${DRMQ_BUILD:?is set by make lint}

# Lines that begin with an option, up to the first double blank, where the description starts.
options_of_help() {
        "$1" --help </dev/null | sed -nE 's/^ +(-.*)/\1/p' | sed -E 's/  .*//' |
                grep -oE -- '(^|[ ,|[])--?[a-zA-Z0-9][a-z0-9-]*' | grep -oE -- '--?[a-zA-Z0-9].*' | sort -u
}

# Items of lists: `.It Fl b , Fl -brokers Ns = Ns Ar LIST`.
options_of_page() {
        sed -nE 's/^\.It (Fl .*)/\1/p' "$1" | sed -E 's/\b(Fl|Ns) Fl /\1 -/g' |
                grep -oE 'Fl -?[a-zA-Z0-9][a-z0-9-]*' | sed -E 's/^Fl /-/' | sort -u
}

# Completions: what is offered where a word begins with a dash; the options of _arguments; the options of `complete`.
options_of_bash() {
        # shellcheck disable=SC2016 # it is what stands there
        sed -n '/\$cur == -\*/,/return/p' "$1" | grep -oE -- '(^| )--?[a-zA-Z0-9][a-z0-9-]*' | tr -d ' ' | sort -u
}
options_of_zsh() {
        grep -oE -- "^ *'\*?--[a-z-]+|\{-[a-zA-Z0-9]\+?,--[a-z-]+" "$1" | grep -oE -- '--[a-z-]+|-[a-zA-Z0-9]' | sort -u
}
options_of_fish() {
        sed -nE 's/^complete -c [a-z-]+ (-s (.) )?-l ([a-z-]+).*/-\2 --\3/p' "$1" | tr ' ' '\n' | grep -vx -- - | sort -u
}

for main in drmq*/main.c; do
        [ -e "$main" ] || continue
        tool=${main%/main.c}
        help=$(options_of_help "$build/bin/$tool")

        for page in man/"$tool".[18]; do
                [ ! -e "$page" ] || diff --label "$tool --help" --label "$page" -U 0 <(echo "$help") <(options_of_page "$page") || true
        done | rule "$tool: --help and page name the same options"

        for shell in bash zsh fish; do
                diff --label "$tool --help" --label "$tool/completion.$shell" -U 0 <(echo "$help") \
                        <("options_of_$shell" "$tool/completion.$shell") || true
        done | rule "$tool: --help and the completions of bash, zsh and fish name the same options"
done

finish
