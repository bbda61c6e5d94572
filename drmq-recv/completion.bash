# SPDX-License-Identifier: Apache-2.0
#
# bash completion of drmq-recv; lib/cli/completion/common.bash comes before it.

_drmq_recv() {
        local cur prev args

        _drmq_begin "-g --group --from --partition -n --count --idle -f --format --commit-interval --dir -b \
                --brokers --timeout"

        case $prev in
        -g | --group | --partition | -n | --count | --idle | -f | --format | --commit-interval | --timeout)
                return
                ;;
        --from)
                _drmq_offer beginning end
                return
                ;;
        --dir)
                _drmq_folders
                return
                ;;
        -b | --brokers)
                _drmq_brokers
                return
                ;;
        esac

        if [[ $cur == -* ]]; then
                _drmq_offer -g --group= --single --from= --partition= -e --exit-at-end -n --count= --idle= \
                        --fail-if-empty -0 --null -f --format= --json --framed --commit-interval= --dir= \
                        --uncommitted --progress -b --brokers= --timeout= -h --help --version
                return
        fi

        _drmq_topics
}
complete -F _drmq_recv drmq-recv
