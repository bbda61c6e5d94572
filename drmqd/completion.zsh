#compdef drmqd
# SPDX-License-Identifier: Apache-2.0
#
# zsh completion of drmqd; lib/cli/completion/common.zsh stands behind its first line.

_arguments -s -S \
        '--config=[read FILE (default\: drmq/NAME.conf in /etc, /run, /usr/local/lib or /usr/lib)]:file:_files' \
        '--node=[name of the node (default\: node1)]:name: ' \
        '--node-id=[number of the node (default\: what the directory says, or 1)]:n: ' \
        '--data-dir=[where the log is (default\: /var/lib/drmq/NAME)]:dir:_files -/' \
        '*--port=[listen on 127.0.0.1\:N (default\: 9092; 0 takes a free one)]:n: ' \
        '*--listen=[listen on HOST\:PORT or unix\:PATH; may be repeated]:address: ' \
        '--advertise=[what clients are told to connect to]:address: ' \
        '*--set=[set a configuration key; may be repeated]:key:{_drmq_keys -S =}' \
        '--check-config[say what is wrong with the configuration, and exit]' \
        '--debug[log debug messages too]' \
        '(-h --help)'{-h,--help}'[show this help]' \
        '--version[show the version]'
