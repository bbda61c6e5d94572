# SPDX-License-Identifier: Apache-2.0
#
# bash completion of drmqctl; lib/cli/completion/common.bash comes before it.

_drmqctl() {
        local cur prev args

        _drmq_begin "--partitions --at --shard --from --to -b --brokers --timeout"

        case $prev in
        --partitions | --shard | --from | --timeout)
                return
                ;;
        --at)
                _drmq_offer beginning end
                return
                ;;
        --to)
                _drmq_folders
                return
                ;;
        -b | --brokers)
                _drmq_brokers
                return
                ;;
        esac

        if [[ $cur == -* ]]; then
                _drmq_offer --json --partitions= --if-not-exists --yes --at= --shard= --from= --groups --to= \
                        --progress -b --brokers= --timeout= -h --help --version
                return
        fi

        case ${args[*]} in
        '')
                _drmq_offer status leader metrics topics offsets log config
                ;;
        topics)
                _drmq_offer list create describe alter delete
                ;;
        log)
                _drmq_offer dump verify salvage accept-loss
                ;;
        config)
                _drmq_offer show
                ;;
        'topics describe'* | 'topics alter'* | 'topics delete'* | offsets*)
                _drmq_topics
                ;;
        'log dump'* | 'log verify'* | 'log salvage'* | 'log accept-loss'*)
                _drmq_folders
                ;;
        'config show'*)
                _drmq_offer "$(_drmq_ask drmqctl config show)"
                ;;
        esac
}
complete -F _drmqctl drmqctl
