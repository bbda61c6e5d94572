#compdef drmqctl
# SPDX-License-Identifier: Apache-2.0
#
# zsh completion of drmqctl; lib/cli/completion/common.zsh stands behind its first line.

local curcontext=$curcontext state line
local -a verbs
local -A opt_args

_arguments -C -s -S \
        '--json[answer in JSON, an object a line]' \
        '--partitions=[topics create, alter\: so many partitions]:n: ' \
        '--if-not-exists[topics create\: what exists is fine]' \
        '--yes[topics delete, log accept-loss\: do not ask]' \
        '--at=[offsets\: beginning, end (default), or a time]:when:(beginning end)' \
        '--shard=[log dump\: only this shard]:n: ' \
        '--from=[log dump\: from this entry on]:index: ' \
        '--groups[log dump\: group writes, headers and footers]' \
        '--to=[log salvage\: the directory to make]:dir:_files -/' \
        '--progress[log verify, salvage\: show how far it is]' \
        '(-b --brokers)'{-b+,--brokers=}'[where the brokers are\: host\:port,unix\:/path,...]:list:_drmq_brokers' \
        '--timeout=[give up after TIME (default 30s)]:time: ' \
        '(-h --help)'{-h,--help}'[show this help]' \
        '--version[show the version]' \
        '1: :->first' \
        '*:: :->rest' && return

case $state in
first)
        verbs=(
                'status:how the node is; exit status 0 healthy, 1 degraded'
                'leader:who leads each shard, or this one'
                'metrics:what the node counts, as Prometheus reads it'
                'topics:list, create, describe, alter, delete'
                'offsets:offsets of a topic'\''s partitions'
                'log:dump, verify, salvage, accept-loss'
                'config:show'
        )
        _describe verb verbs
        ;;
rest)
        case $words[1] in
        topics)
                if ((CURRENT == 2)); then
                        verbs=(
                                'list:all topics'
                                'create:create topics; - takes names from stdin'
                                'describe:a topic and its partitions'
                                'alter:give a topic more partitions'
                                'delete:delete topics and all of their messages'
                        )
                        _describe verb verbs
                elif [[ $words[2] == (describe|alter|delete) ]]; then
                        _drmq_topics
                fi
                ;;
        log)
                if ((CURRENT == 2)); then
                        verbs=(
                                'dump:the entries of a node'\''s directory'
                                'verify:read and check every byte; exit status 0 good, 1 damage'
                                'salvage:make a new directory of what is good'
                                'accept-loss:let a stopped node take messages again behind what is lost'
                        )
                        _describe verb verbs
                elif [[ $words[2] == (dump|verify|salvage|accept-loss) ]]; then
                        _files -/
                fi
                ;;
        config)
                if ((CURRENT == 2)); then
                        verbs=(
                                'show:the node'\''s configuration, and where it is from'
                        )
                        _describe verb verbs
                elif [[ $words[2] == (show) ]]; then
                        _drmq_keys
                fi
                ;;
        offsets)
                _drmq_topics
                ;;
        esac
        ;;
esac
