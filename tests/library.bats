#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# libdrmq as a programmer finds it: installed, with pkg-config, pages, examples; what the library exports, and what is not in it.

load lib/drmq

setup_file() {
        start_drmqd
        [[ $DRMQ_BUILD != */sanitize-* && $DRMQ_BUILD != */coverage ]] || return 0
        export root=$BATS_FILE_TMPDIR/root
        make --no-print-directory -C "$BATS_TEST_DIRNAME/.." install-built DESTDIR="$root" PREFIX=/usr \
                >"$BATS_FILE_TMPDIR/install" 2>&1 3>&- || {
                cat "$BATS_FILE_TMPDIR/install" >&2
                return 1
        }
        export PKG_CONFIG_PATH=$root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root LD_LIBRARY_PATH=$root/usr/lib
}
teardown_file() { stop_drmqd; }

setup() {
        [[ $DRMQ_BUILD != */sanitize-* && $DRMQ_BUILD != */coverage ]] || skip "the library needs the build's own flags"
        cd "$BATS_TEST_TMPDIR" || return
        so=$root/usr/lib/libdrmq.so.0
        header=$root/usr/include/drmq.h
        topic=t$BATS_TEST_NUMBER
}

# compile PROGRAM FILE [FLAG]... — as the page says it, and without a warning.
compile() {
        # shellcheck disable=SC2046 # words
        ${CC:-cc} -Wall -Wextra -Werror -pedantic -o "$1" "$2" "${@:3}" $(pkg-config --cflags --libs libdrmq)
}

# page_example PAGE N — the Nth program on that page.
page_example() {
        awk -v wanted="$2" '
                /^\.Bd -literal/ { getline; n += /^#include/; inside = n == wanted }
                /^\.Ed/ { inside = 0 }
                inside { gsub(/\\e/, "\\"); sub(/^\\&/, ""); print }' "$root/usr/share/man/man3/$1.3"
}

# from_page PAGE N [FLAG]... — compiles it to ./program.
from_page() {
        page_example "$1" "$2" >program.c
        grep -q 'int main' program.c
        compile program program.c "${@:3}"
}

functions() { # of the header
        echo "#include \"$header\"" | ${CC:-cc} -E -P - | tr '\n' ' ' | grep -o 'drmq_[a-z0-9_]* *([^()]*)' | sed 's/ *(.*//' | sort -u
}

@test "a producer and a consumer, as libdrmq(3) has them" {
        from_page libdrmq 1
        ./program "$topic" && ./program "$topic"
        from_page libdrmq 2
        run_timeout ./program "$topic"
        expect 0
        prints $'hello\nhello'
        # What it has read it has committed.
        run_timeout ./program "$topic"
        expect 0
        prints ''
        all_of "$topic" | cmp - <(printf 'hello\nhello\n')
}

@test "a message that is waited for, as drmq_producer(3) has it" {
        from_page drmq_producer 1
        run_timeout ./program one
        expect 0
        prints 'greetings, offset 0'
        run_timeout ./program two
        prints 'greetings, offset 1'

        from_page drmq_consumer 1
        run_timeout ./program greetings
        expect 0
        prints $'one\ntwo'

        from_page drmq_admin 1
        run_timeout ./program
        expect 0
        grep -qx 'greetings 2' <<<"$output"
}

@test "all of a message, as drmq_message(3) has it" {
        drmq-send "$topic" -k key -H host=a -H empty= value
        from_page drmq_message 1
        run_timeout ./program "$topic"
        expect 0
        prints "$topic/0 0
key: key
value: value
host: a
empty: "
}

@test "a relay on an sd-event loop, as drmq_client(3) has it" {
        # shellcheck disable=SC2046
        from_page drmq_client 1 $(PKG_CONFIG_SYSROOT_DIR='' pkg-config --cflags --libs libsystemd)
        drmqctl topics create in
        drmqctl topics create out
        ./program 2>errors 3>&- &
        pid=$!
        seq 20000 | drmq-send in
        timeout 30 drmq-recv out -n 20000 | cmp - <(seq 20000)
        kill "$pid"
        wait "$pid"
        [ ! -s errors ]
}

@test "the producer to copy from sends, repeats, and stops cleanly" {
        compile producer "$root/usr/share/doc/drmq/examples/producer.c"
        run_timeout ./producer
        expect 2
        seq 1000 | ./producer "$topic" 2>sums
        grep -qx 'producer: 1000 sent, 1000 in the log, 0 lost' sums
        all_of "$topic" | cmp - <(seq 1000)

        # SIGTERM, in the middle of its input: what it took is in the log.
        mkfifo lines
        ./producer "$topic-2" <lines 2>sums 3>&- &
        pid=$!
        exec 9>lines
        seq 500 >&9
        wait_until has_messages "$topic-2" 500
        kill "$pid"
        wait "$pid"
        exec 9>&-
        grep -qx 'producer: 500 sent, 500 in the log, 0 lost' sums
}

has_messages() { # TOPIC N
        [ "$(all_of "$1" 2>/dev/null | wc -l)" -ge "$2" ]
}

@test "a restart of the node in the middle is nothing to the producer and the consumer to copy from" {
        compile producer "$root/usr/share/doc/drmq/examples/producer.c"
        compile consumer "$root/usr/share/doc/drmq/examples/consumer.c"
        mkfifo lines
        ./producer "$topic" <lines 2>sums 3>&- &
        producer=$!
        exec 9>lines
        ./consumer "$topic" me >got 2>errors 3>&- 9>&- &
        consumer=$!
        for i in 0 1 2 3 4; do
                seq $((i * 1000 + 1)) $((i * 1000 + 1000)) >&9
                wait_until has_lines got $((i * 1000 + 500))
                stop_drmqd d "$([ $((i % 2)) = 0 ] && echo TERM || echo KILL)"
                start_drmqd 9>&-
        done
        wait_until has_lines got 5000
        exec 9>&-
        wait "$producer"
        kill "$consumer"
        wait "$consumer"
        grep -qx 'producer: 5000 sent, 5000 in the log, 0 lost' sums
        cut -d ' ' -f 2 got | cmp - <(seq 5000)
        [ ! -s errors ]
}

@test "the consumer to copy from goes on where it was" {
        compile consumer "$root/usr/share/doc/drmq/examples/consumer.c"
        for i in 1 2 3; do
                seq "$i" "$i" | drmq-send "$topic"
                ./consumer "$topic" me >"got$i" 2>errors 3>&- &
                pid=$!
                wait_until has_lines "got$i" 1
                kill "$pid"
                wait "$pid"
                cmp "got$i" <(echo "$((i - 1)) $i")
                [ ! -s errors ]
        done
        # What could not be written is not committed.
        seq 4 4 | drmq-send "$topic"
        run_timeout sh -c "./consumer $topic me >/dev/full"
        expect 1
        says 'consumer: standard output'
        ./consumer "$topic" me >got 3>&- &
        pid=$!
        wait_until has_lines got 1
        kill "$pid"
        wait "$pid"
        cmp got <(echo '3 4')
}

@test "the header compiles as C11 and as C++, pedantically" {
        printf '#include <drmq.h>\nint main(void) { return drmq_version() == 0; }\n' >alone.c
        cp alone.c alone.cc
        # shellcheck disable=SC2046
        gcc -std=c11 -Wall -Wextra -Wstrict-prototypes -pedantic -Werror -o alone alone.c $(pkg-config --cflags --libs libdrmq)
        ./alone
        # shellcheck disable=SC2046
        g++ -std=c++11 -Wall -Wextra -pedantic -Werror -o alone alone.cc $(pkg-config --cflags --libs libdrmq)
        ./alone
}

@test "the library may be inside of the program" {
        page_example drmq_producer 1 >program.c
        # shellcheck disable=SC2046
        ${CC:-cc} -Wall -Wextra -Werror -o program program.c $(pkg-config --cflags libdrmq) -l:libdrmq.a \
                $(pkg-config --static --libs libdrmq)
        run ! grep -q 'NEEDED.*libdrmq' <(readelf -d program)
        LD_LIBRARY_PATH='' ./program inside
        # Its other names are nobody's.
        [ -z "$(nm -g --defined-only "$root/usr/lib/libdrmq.a" | awk 'NF == 3 && $3 !~ /^drmq_/')" ]
}

@test "the library exports the functions of the header, and nothing else" {
        functions >declared
        [ "$(wc -l <declared)" -gt 50 ]
        nm -D --defined-only "$so" | awk '$2 == "T" { print $3 }' | sed 's/@.*//' | sort | diff declared -
        nm -D --defined-only "$so" | awk '$2 != "T" && $3 !~ /^LIBDRMQ_/' | diff /dev/null -
        # What was released in a version stays in its node.
        nm -D --defined-only "$so" | grep -q ' drmq_client_new@@LIBDRMQ_0$'
        nm -D --defined-only "$so" | grep -q ' drmq_consumer_close@@LIBDRMQ_0.2$'
}

@test "the library keeps nothing between clients" {
        # What may be written to after the start: counts of memory and the fault injection of the tests, which are atomic;
        # tables of CRC-32C, made once; and what the compiler brings along.
        readelf -SW "$so" | sed -n 's/^ *\[ *\([0-9]*\)\] \.\(data\|bss\|tdata\|tbss\) .*/\1/p' >sections
        readelf -sW "$so" | awk 'NR == FNR { writable[$1]; next } $4 == "OBJECT" && $7 in writable { print $8 }' sections - |
                sort -u >found
        grep -qx n_bytes_held found # or there is nothing to see here
        printf '%s\n' __TMC_END__ __dso_handle __cpu_features2 __cpu_model completed.0 fail_countdown fail_fired n_bytes_held tables tables_made |
                sort | comm -13 - found | diff /dev/null -
}

@test "the library never exits, prints or touches signals" {
        nm -D --undefined-only "$so" | awk '{ print $2 }' | sed 's/@.*//' >used
        grep -qx sendmsg used
        grep -xE '_?_?_?exit|_Exit|quick_exit|abort|raise|kill|signal|sigaction|sigprocmask|fork|vfork|system|popen|execv.*' used |
                diff /dev/null -
        grep -xE '(v|f|d|vf|vd)?printf|(__)?(v|f|d|vf|vd)?printf_chk|puts|fputs|putchar|perror|fwrite|syslog|vsyslog|std(out|err)|warnx?|errx?' used |
                diff /dev/null -
}

@test "each function has its page" {
        man3=$root/usr/share/man/man3
        functions | while read -r name; do
                [ -f "$man3/$name.3" ]
                page=$man3/$name.3
                ! read -r so target <"$page" || [ "$so" != .so ] || page=$root/usr/share/man/$target
                grep -qx "\.Nm $name\( ,\)\?" "$page"
        done
        [ "$(find "$man3" -name 'drmq_*.3' -printf '%f\n' | sed 's/\.3$//' | grep -vxE 'drmq_(client|producer|consumer|message|admin)' |
                sort)" = "$(functions)" ]
}
