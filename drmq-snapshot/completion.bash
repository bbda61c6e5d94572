# SPDX-License-Identifier: Apache-2.0
#
# bash completion of drmq-snapshot; lib/cli/completion/common.bash comes before it.

_drmq_snapshot() {
        local cur prev args

        _drmq_begin "--to --dir --name --level --data-dir -b --brokers --timeout"

        case $prev in
        --to)
                _drmq_files
                return
                ;;
        --dir | --data-dir)
                _drmq_folders
                return
                ;;
        --name | --level | --timeout)
                return
                ;;
        -b | --brokers)
                _drmq_brokers
                return
                ;;
        esac

        if [[ $cur == -* ]]; then
                _drmq_offer --to= --dir= --name= --level= --data-dir= --progress --json -b --brokers= \
                        --timeout= -h --help --version
                return
        fi

        case ${args[*]} in
        '')
                _drmq_offer create list delete inspect verify restore
                ;;
        delete*)
                _drmq_offer "$(_drmq_ask drmq-snapshot list)"
                ;;
        inspect* | verify* | restore*)
                _drmq_files
                ;;
        esac
}
complete -F _drmq_snapshot drmq-snapshot
