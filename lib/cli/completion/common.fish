# SPDX-License-Identifier: Apache-2.0
#
# What the tools' fish completions share; each is installed with this before it.

# What a node says; nobody waits long for one that is not there.
function __drmq_ask
    set -l brokers
    set -l words (commandline -opc)
    for i in (seq (count $words))
        switch $words[$i]
            case -b --brokers
                test $i -lt (count $words); and set brokers --brokers $words[(math $i + 1)]
            case '--brokers=*'
                set brokers $words[$i]
        end
    end
    $argv $brokers --timeout 1s 2>/dev/null </dev/null | cut -f 1
end

function __drmq_brokers
    for socket in /run/drmq/*.sock $XDG_RUNTIME_DIR/drmq/*.sock
        echo unix:$socket
    end
    echo 127.0.0.1:9092
end

