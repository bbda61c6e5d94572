#compdef drmq-recv
# SPDX-License-Identifier: Apache-2.0
#
# zsh completion of drmq-recv; lib/cli/completion/common.zsh stands behind its first line.

_arguments -s -S \
        '(-g --group)'{-g+,--group=}'[go on at GROUP'\''s position, and commit it]:group: ' \
        '--single[read alone; needed with -g]' \
        '--from=[beginning (default), end, an offset, -N for the last N, or a time]:where:(beginning end)' \
        '--partition=[only these partitions]:nm: ' \
        '(-e --exit-at-end)'{-e,--exit-at-end}'[exit at the end as it was when asked]' \
        '(-n --count)'{-n+,--count=}'[exit after N messages]:n: ' \
        '--idle=[exit when nothing came for TIME]:time: ' \
        '--fail-if-empty[exit with 3 when nothing came]' \
        '(-0 --null)'{-0,--null}'[end messages in NUL, not in a newline]' \
        '(-f --format)'{-f+,--format=}'[print FORMAT\: %t topic, %p partition, %o offset, %k key, %v value, %T timestamp, %h headers, %u uncommitted, %% percent, and C escapes]:format: ' \
        '--json[print a JSON object a line]' \
        '--framed[print each value'\''s length before it, 4 bytes]' \
        '--commit-interval=[commit the position this often (default 1s), and at the end]:time: ' \
        '--dir=[read a node'\''s data directory itself, without its daemon, live or not]:dir:_files -/' \
        '--uncommitted[with --dir\: what is not committed too]' \
        '--progress[show rates and sums on stderr]' \
        '(-b --brokers)'{-b+,--brokers=}'[where the brokers are\: host\:port,unix\:/path,...]:list:_drmq_brokers' \
        '--timeout=[give up after TIME (default 30s)]:time: ' \
        '(-h --help)'{-h,--help}'[show this help]' \
        '--version[show the version]' \
        '*:topic:_drmq_topics'
