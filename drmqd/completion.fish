# SPDX-License-Identifier: Apache-2.0
#
# fish completion of drmqd; lib/cli/completion/common.fish comes before it.

complete -c drmqd -f

complete -c drmqd -l config -r -F -d 'read FILE (default: drmq/NAME.conf in /etc, /run, /usr/local/lib or /usr/lib)'
complete -c drmqd -l node -x -d 'name of the node (default: node1)'
complete -c drmqd -l node-id -x -d 'number of the node (default: what the directory says, or 1)'
complete -c drmqd -l data-dir -x -a '(__fish_complete_directories)' -d 'where the log is (default: /var/lib/drmq/NAME)'
complete -c drmqd -l port -x -d 'listen on 127.0.0.1:N (default: 9092; 0 takes a free one)'
complete -c drmqd -l listen -x -d 'listen on HOST:PORT or unix:PATH; may be repeated'
complete -c drmqd -l advertise -x -d 'what clients are told to connect to'
complete -c drmqd -l set -x -a '(__drmq_ask drmqctl config show)=' -d 'set a configuration key; may be repeated'
complete -c drmqd -l check-config -d 'say what is wrong with the configuration, and exit'
complete -c drmqd -l debug -d 'log debug messages too'
complete -c drmqd -s h -l help -d 'show this help'
complete -c drmqd -l version -d 'show the version'
