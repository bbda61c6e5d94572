# SPDX-License-Identifier: Apache-2.0
#
# bash completion of drmq-send; lib/cli/completion/common.bash comes before it.

_drmq_send() {
        local cur prev args

        _drmq_begin "-D --delimiter -k --key -K --key-separator -H --header --partition --partitioner -z \
                --compress --acks --linger --batch --rate -b --brokers --timeout"

        case $prev in
        -D | --delimiter | -k | --key | -K | --key-separator | -H | --header | --partition | --linger | \
                --batch | --rate | --timeout)
                return
                ;;
        --partitioner)
                _drmq_offer murmur2 crc32 round-robin
                return
                ;;
        -z | --compress)
                _drmq_offer none gzip snappy lz4 zstd
                return
                ;;
        --acks)
                _drmq_offer all leader none
                return
                ;;
        -b | --brokers)
                _drmq_brokers
                return
                ;;
        esac

        if [[ $cur == -* ]]; then
                _drmq_offer -0 --null -D --delimiter= --file --json --framed -k --key= -K --key-separator= \
                        -H --header= --partition= --partitioner= -z --compress= --acks= --linger= --batch= \
                        --rate= --atomic --offsets --progress -b --brokers= --timeout= -h --help --version
                return
        fi

        if [[ ${#args[@]} -eq 0 ]]; then
                _drmq_topics
        elif [[ " $COMP_LINE " == *' --file '* ]]; then
                _drmq_files
        fi
}
complete -F _drmq_send drmq-send
