# SPDX-License-Identifier: Apache-2.0
#
# What the tools' bash completions share; each is installed with this before it.

# The words of the line up to the cursor: bash itself parts them at '=' and ':' too. $1: the options that have a value.
# Sets cur, the beginning of what is to be completed; prev, the option whose value that is, or nothing; args, the words
# before that are no options.
_drmq_begin() {
        local line=${COMP_LINE:0:COMP_POINT} options=" $1 " words i

        read -ra words <<<"$line"
        [[ $line != *[[:space:]] ]] || words+=("")
        cur=${words[-1]} prev='' args=()
        for ((i = 1; i < ${#words[@]} - 1; i++)); do
                if [[ $options == *" ${words[i]} "* ]]; then
                        if ((i + 2 == ${#words[@]})); then prev=${words[i]}; else ((i += 1)); fi
                elif [[ ${words[i]} != -* ]]; then
                        args+=("${words[i]}")
                fi
        done
        if [[ $cur == --*=* ]]; then
                prev=${cur%%=*} cur=${cur#*=}
        fi
}

# Those of the words that begin as what is there. Options that have a value are followed by it, others by a blank.
_drmq_offer() {
        local colon

        mapfile -t COMPREPLY < <(compgen -W "$*" -- "$cur")
        if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
                colon=${cur%"${cur##*:}"} # bash replaces what is behind the colon only
                COMPREPLY=("${COMPREPLY[@]#"$colon"}")
        fi
        if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
                compopt -o nospace 2>/dev/null
        fi
}

_drmq_files() {
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}
_drmq_folders() {
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
}

# What a node says; nobody waits long for one that is not there.
_drmq_ask() {
        local brokers=()

        if [[ ${COMP_LINE:0:COMP_POINT} =~ [[:space:]](-b|--brokers)[=[:space:]]+([^[:space:]]+)[[:space:]] ]]; then
                brokers=(--brokers "${BASH_REMATCH[2]}")
        fi
        "$@" "${brokers[@]}" --timeout 1s 2>/dev/null </dev/null | cut -f 1
}

_drmq_topics() {
        _drmq_offer "$(_drmq_ask drmqctl topics list)"
}

_drmq_brokers() {
        local sockets=()

        mapfile -t sockets < <(compgen -G '/run/drmq/*.sock'; compgen -G "${XDG_RUNTIME_DIR:-/nowhere}/drmq/*.sock")
        _drmq_offer "${sockets[@]/#/unix:}" 127.0.0.1:9092
}

