/* SPDX-License-Identifier: Apache-2.0 */
/* The journal as a sink of log records: sd_journal_sendv(3). */
#include "loop/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

/* MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, MESSAGE_ID, and what the record brings. */
#define FIELDS_MAX 32u
#define TEXT_BYTES_MAX 4096u

bool journal_is_stderr(void) {
        const char *expected = getenv("JOURNAL_STREAM");
        char actual[64];
        struct stat st;

        if (!expected || fstat(STDERR_FILENO, &st) < 0)
                return false;

        snprintf(actual,
                 sizeof(actual),
                 "%llu:%llu",
                 (unsigned long long) st.st_dev,
                 (unsigned long long) st.st_ino);
        return streq(actual, expected);
}

static struct iovec field(const char *text) {
        return (struct iovec){ .iov_base = (char *) text, .iov_len = strlen(text) };
}

static void send_record(const struct log_record *record, _unused_ void *userdata) {
        char text[TEXT_BYTES_MAX], priority[16], identifier[64], message_id[64];
        struct iovec fields[FIELDS_MAX];
        int n = 0;

        snprintf(text, sizeof(text), "MESSAGE=%s", record->text);
        snprintf(priority, sizeof(priority), "PRIORITY=%d", record->level);
        snprintf(identifier,
                 sizeof(identifier),
                 "SYSLOG_IDENTIFIER=%s",
                 program_invocation_short_name);
        fields[n++] = field(text);
        fields[n++] = field(priority);
        fields[n++] = field(identifier);
        if (record->message_id) {
                snprintf(message_id, sizeof(message_id), "MESSAGE_ID=%s", record->message_id);
                fields[n++] = field(message_id);
        }
        for (const char *const *f = record->fields; f && *f && n < (int) FIELDS_MAX; f++)
                fields[n++] = field(*f);

        (void) sd_journal_sendv(fields, n); /* there is nobody left to tell */
}

int journal_set_sink(void) {
        if (!journal_is_stderr())
                return 0;

        log_set_sink(send_record, /* userdata= */ NULL);
        return 1;
}
