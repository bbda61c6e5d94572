#compdef drmq-snapshot
# SPDX-License-Identifier: Apache-2.0
#
# zsh completion of drmq-snapshot; lib/cli/completion/common.zsh stands behind its first line.

local curcontext=$curcontext state line
local -a verbs
local -A opt_args

_arguments -C -s -S \
        '--to=[create\: write an archive to FILE; - is stdout]:file:_files' \
        '--dir=[create\: of the directory of a node that is stopped]:dir:_files -/' \
        '--name=[create\: the name of the snapshot]:name: ' \
        '--level=[create\: compress so hard, 1 (default) to 19]:n: ' \
        '--data-dir=[restore\: the directory to make]:dir:_files -/' \
        '--progress[create, restore, verify\: show how far it is]' \
        '--json[answer in JSON, an object a line]' \
        '(-b --brokers)'{-b+,--brokers=}'[where the brokers are\: host\:port,unix\:/path,...]:list:_drmq_brokers' \
        '--timeout=[give up after TIME (default 30s)]:time: ' \
        '(-h --help)'{-h,--help}'[show this help]' \
        '--version[show the version]' \
        '1: :->first' \
        '*:: :->rest' && return

case $state in
first)
        verbs=(
                'create:make a snapshot\: held by the node, or with --to an archive'
                'list:the snapshots that the node holds'
                'delete:give back what they hold'
                'inspect:what an archive holds'
                'verify:check all of an archive'
                'restore:make a node'\''s directory of an archive'
        )
        _describe verb verbs
        ;;
rest)
        case $words[1] in
        delete)
                _drmq_snapshots
                ;;
        inspect)
                _files
                ;;
        verify)
                _files
                ;;
        restore)
                _files
                ;;
        esac
        ;;
esac
