# SPDX-License-Identifier: Apache-2.0
#
# bash completion of drmqd; lib/cli/completion/common.bash comes before it.

_drmqd() {
        local cur prev args

        _drmq_begin "--config --node --node-id --data-dir --port --listen --advertise --set"

        case $prev in
        --config)
                _drmq_files
                return
                ;;
        --node | --node-id | --port | --listen | --advertise)
                return
                ;;
        --data-dir)
                _drmq_folders
                return
                ;;
        --set)
                _drmq_offer "$(_drmq_ask drmqctl config show | sed 's/$/=/')"
                return
                ;;
        esac

        if [[ $cur == -* ]]; then
                _drmq_offer --config= --node= --node-id= --data-dir= --port= --listen= --advertise= --set= \
                        --check-config --debug -h --help --version
                return
        fi

}
complete -F _drmqd drmqd
