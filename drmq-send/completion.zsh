#compdef drmq-send
# SPDX-License-Identifier: Apache-2.0
#
# zsh completion of drmq-send; lib/cli/completion/common.zsh stands behind its first line.

_arguments -s -S \
        '(-0 --null)'{-0,--null}'[messages end in NUL, not in a newline]' \
        '(-D --delimiter)'{-D+,--delimiter=}'[messages end in STR; C escapes are understood]:str: ' \
        '--file[the arguments are files, each a message]' \
        '--json[each line is a JSON object]' \
        '--framed[each message has its length before it, 4 bytes]' \
        '(-k --key)'{-k+,--key=}'[key of all messages]:key: ' \
        '(-K --key-separator)'{-K+,--key-separator=}'[the key stands before SEP in each message]:sep: ' \
        '*'{-H+,--header=}'[add a header; may be repeated]:name=value: ' \
        '--partition=[send to this partition]:n: ' \
        '--partitioner=[how keys choose partitions\: murmur2 (default), crc32 or round-robin]:rule:(murmur2 crc32 round-robin)' \
        '(-z --compress)'{-z+,--compress=}'[none (default), gzip, snappy, lz4 or zstd]:codec:(none gzip snappy lz4 zstd)' \
        '--acks=[wait for all (default), leader or none]:whose:(all leader none)' \
        '--linger=[wait so long to fill a batch (default 5ms)]:time: ' \
        '--batch=[a batch is full at SIZE (default 256K)]:size: ' \
        '--rate=[send at most N messages a second]:n: ' \
        '--atomic[all of the input or nothing, up to 16M]' \
        '--offsets[print topic, partition and offset of each message once it is in the log]' \
        '--progress[show rates and sums on stderr]' \
        '(-b --brokers)'{-b+,--brokers=}'[where the brokers are\: host\:port,unix\:/path,...]:list:_drmq_brokers' \
        '--timeout=[give up after TIME (default 30s)]:time: ' \
        '(-h --help)'{-h,--help}'[show this help]' \
        '--version[show the version]' \
        '1:topic:_drmq_topics' \
        '*:message or file:_files'
