# SPDX-License-Identifier: Apache-2.0
#
# fish completion of drmq-send; lib/cli/completion/common.fish comes before it.

complete -c drmq-send -n 'not __fish_contains_opt file' -f -a '(__drmq_ask drmqctl topics list)'

complete -c drmq-send -s 0 -l null -d 'messages end in NUL, not in a newline'
complete -c drmq-send -s D -l delimiter -x -d 'messages end in STR; C escapes are understood'
complete -c drmq-send -l file -d 'the arguments are files, each a message'
complete -c drmq-send -l json -d 'each line is a JSON object'
complete -c drmq-send -l framed -d 'each message has its length before it, 4 bytes'
complete -c drmq-send -s k -l key -x -d 'key of all messages'
complete -c drmq-send -s K -l key-separator -x -d 'the key stands before SEP in each message'
complete -c drmq-send -s H -l header -x -d 'add a header; may be repeated'
complete -c drmq-send -l partition -x -d 'send to this partition'
complete -c drmq-send -l partitioner -x -a 'murmur2 crc32 round-robin' -d 'how keys choose partitions: murmur2 (default), crc32 or round-robin'
complete -c drmq-send -s z -l compress -x -a 'none gzip snappy lz4 zstd' -d 'none (default), gzip, snappy, lz4 or zstd'
complete -c drmq-send -l acks -x -a 'all leader none' -d 'wait for all (default), leader or none'
complete -c drmq-send -l linger -x -d 'wait so long to fill a batch (default 5ms)'
complete -c drmq-send -l batch -x -d 'a batch is full at SIZE (default 256K)'
complete -c drmq-send -l rate -x -d 'send at most N messages a second'
complete -c drmq-send -l atomic -d 'all of the input or nothing, up to 16M'
complete -c drmq-send -l offsets -d 'print topic, partition and offset of each message once it is in the log'
complete -c drmq-send -l progress -d 'show rates and sums on stderr'
complete -c drmq-send -s b -l brokers -x -a '(__drmq_brokers)' -d 'where the brokers are: host:port,unix:/path,...'
complete -c drmq-send -l timeout -x -d 'give up after TIME (default 30s)'
complete -c drmq-send -s h -l help -d 'show this help'
complete -c drmq-send -l version -d 'show the version'
