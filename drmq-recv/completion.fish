# SPDX-License-Identifier: Apache-2.0
#
# fish completion of drmq-recv; lib/cli/completion/common.fish comes before it.

complete -c drmq-recv -f -a '(__drmq_ask drmqctl topics list)'

complete -c drmq-recv -s g -l group -x -d 'go on at GROUP\'s position, and commit it'
complete -c drmq-recv -l single -d 'read alone; needed with -g'
complete -c drmq-recv -l from -x -a 'beginning end' -d 'beginning (default), end, an offset, -N for the last N, or a time'
complete -c drmq-recv -l partition -x -d 'only these partitions'
complete -c drmq-recv -s e -l exit-at-end -d 'exit at the end as it was when asked'
complete -c drmq-recv -s n -l count -x -d 'exit after N messages'
complete -c drmq-recv -l idle -x -d 'exit when nothing came for TIME'
complete -c drmq-recv -l fail-if-empty -d 'exit with 3 when nothing came'
complete -c drmq-recv -s 0 -l null -d 'end messages in NUL, not in a newline'
complete -c drmq-recv -s f -l format -x -d 'print FORMAT: %t topic, %p partition, %o offset, %k key, %v value, %T timestamp, %h headers, %u uncommitted, %% percent, and C escapes'
complete -c drmq-recv -l json -d 'print a JSON object a line'
complete -c drmq-recv -l framed -d 'print each value\'s length before it, 4 bytes'
complete -c drmq-recv -l commit-interval -x -d 'commit the position this often (default 1s), and at the end'
complete -c drmq-recv -l dir -x -a '(__fish_complete_directories)' -d 'read a node\'s data directory itself, without its daemon, live or not'
complete -c drmq-recv -l uncommitted -d 'with --dir: what is not committed too'
complete -c drmq-recv -l progress -d 'show rates and sums on stderr'
complete -c drmq-recv -s b -l brokers -x -a '(__drmq_brokers)' -d 'where the brokers are: host:port,unix:/path,...'
complete -c drmq-recv -l timeout -x -d 'give up after TIME (default 30s)'
complete -c drmq-recv -s h -l help -d 'show this help'
complete -c drmq-recv -l version -d 'show the version'
