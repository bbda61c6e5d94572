/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Log records, to stderr or to the program's sink.
 *
 * I1: a record is one write(2), so that lines of threads and of processes that share a terminal do
 * not mix. I2: nothing here allocates: "Out of memory" can be said.
 */

#include "base/logging.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

/* What a program is by name, to whom and how much it talks: the one thing here that is per
 * process. */
static struct {
        const char *name;
        int max_level;
        bool to_journal; /* stderr is a stream of the journal */
        log_sink_t sink;
        void *userdata;
} logging = { .max_level = LOG_INFO };

/* Whether $JOURNAL_STREAM, "device:inode", is what stderr is (systemd.exec(5)). */
static bool stderr_is_journal(void) {
        const char *e = getenv("JOURNAL_STREAM");
        char ours[64];
        struct stat st;

        if (!e || fstat(STDERR_FILENO, &st) < 0)
                return false;

        (void) snprintf(ours,
                        sizeof(ours),
                        "%llu:%llu",
                        (unsigned long long) st.st_dev,
                        (unsigned long long) st.st_ino);
        return streq(e, ours);
}

void log_setup(const char *name, int max_level) {
        (void) fd_hold_standard(); /* without /dev/null it is no worse than before */
        logging.name = name;
        logging.max_level = max_level;
        logging.to_journal = stderr_is_journal();
}

void log_set_sink(log_sink_t sink, void *userdata) {
        logging.sink = sink;
        logging.userdata = userdata;
}

void log_set_max_level(int level) {
        __atomic_store_n(&logging.max_level, level, __ATOMIC_RELAXED);
}

int log_max_level(void) {
        return __atomic_load_n(&logging.max_level, __ATOMIC_RELAXED);
}

static void write_line(const struct log_record *record) {
        char line[LOG_TEXT_MAX + 128];
        size_t n;
        int k;

        if (logging.to_journal)
                k = snprintf(line, sizeof(line), "<%d>%s", record->level, record->text);
        else if (logging.name)
                k = snprintf(line, sizeof(line), "%s: %s", logging.name, record->text);
        else
                k = snprintf(line, sizeof(line), "%s", record->text);
        if (k < 0)
                return;

        n = MIN((size_t) k, sizeof(line) - 1);
        for (size_t i = 0; i < n; i++)
                if ((unsigned char) line[i] < ' ' || line[i] == 0x7f)
                        line[i] = ' ';
        line[n] = '\n';

        /* I1. There is nobody to tell that telling failed. */
        (void) fd_write_full(STDERR_FILENO, line, n + 1);
}

void log_emit(const struct log_record *record) {
        int saved_errno = errno;

        assert(record);
        assert(record->text);

        if (record->level > log_max_level())
                return;

        if (logging.sink)
                logging.sink(record, logging.userdata);
        else
                write_line(record);
        errno = saved_errno;
}

static _printf_(5, 0) void log_formatted(int level,
                                         int error,
                                         const char *message_id,
                                         const struct field *fields,
                                         const char *format,
                                         va_list ap) {

        struct field_strings strings;
        char text[LOG_TEXT_MAX];
        int saved_errno = errno;

        if (level > log_max_level())
                return;

        errno = error; /* for %m */
        (void) vsnprintf(text, sizeof(text), format, ap);
        errno = saved_errno;
        field_strings_make(&strings, fields);

        log_emit(&(struct log_record){ .level = level,
                                       .message_id = message_id,
                                       .fields = strings.strings,
                                       .text = text });
}

int log_full_errno(int level, int error, const char *format, ...) {
        va_list ap;

        assert(format);

        error = error < 0 ? -error : error;
        va_start(ap, format);
        log_formatted(level, error, /* message_id= */ NULL, /* fields= */ NULL, format, ap);
        va_end(ap);
        return -error;
}

void log_event(
        int level, const char *message_id, const struct field *fields, const char *format, ...) {
        va_list ap;

        assert(format);

        va_start(ap, format);
        log_formatted(level, errno, message_id, fields, format, ap);
        va_end(ap);
}
