# SPDX-License-Identifier: Apache-2.0
#
# What the tools' zsh completions share; each is installed with this behind its first line.

# What a node says; nobody waits long for one that is not there.
_drmq_ask() {
        local where=${opt_args[-b]:-${opt_args[--brokers]:-}}

        "$@" ${where:+--brokers} ${where:+$where} --timeout 1s 2>/dev/null </dev/null | cut -f 1
}

_drmq_topics() {
        local -a topics=(${(f)"$(_drmq_ask drmqctl topics list)"})
        _wanted topics expl topic compadd -a topics
}

_drmq_keys() {
        local -a keys=(${(f)"$(_drmq_ask drmqctl config show)"})
        _wanted keys expl key compadd "$@" -a keys
}

_drmq_snapshots() {
        local -a names=(${(f)"$(_drmq_ask drmq-snapshot list)"})
        _wanted snapshots expl snapshot compadd -a names
}

_drmq_brokers() {
        local -a brokers=(/run/drmq/*.sock(N) ${XDG_RUNTIME_DIR:-/nowhere}/drmq/*.sock(N))
        brokers=(unix:$^brokers 127.0.0.1:9092)
        _wanted brokers expl broker compadd -a brokers
}

