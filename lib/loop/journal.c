/* SPDX-License-Identifier: Apache-2.0 */
/* The journal as a sink of log records: sd_journal_sendv(3). */
#define SD_JOURNAL_SUPPRESS_LOCATION /* it would be that of this file */

#include "loop/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

/* MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, MESSAGE_ID, the node, and what the record brings. */
#define PARTS_MAX (5u + FIELDS_MAX)
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

/* "DRMQ_NODE=node1", or empty: the sink is the process's, and so is this. */
static char node_field[512];

static struct iovec part(const char *text) {
        return (struct iovec){ .iov_base = (char *) text, .iov_len = strlen(text) };
}

static void send_record(const struct log_record *record, _unused_ void *userdata) {
        char text[TEXT_BYTES_MAX], priority[16], identifier[64], message_id[64];
        struct iovec parts[PARTS_MAX];
        int n = 0;

        snprintf(text, sizeof(text), "MESSAGE=%s", record->text);
        snprintf(priority, sizeof(priority), "PRIORITY=%d", record->level);
        snprintf(identifier,
                 sizeof(identifier),
                 "SYSLOG_IDENTIFIER=%s",
                 program_invocation_short_name);
        parts[n++] = part(text);
        parts[n++] = part(priority);
        parts[n++] = part(identifier);
        if (record->message_id) {
                snprintf(message_id, sizeof(message_id), "MESSAGE_ID=%s", record->message_id);
                parts[n++] = part(message_id);
        }
        if (node_field[0])
                parts[n++] = part(node_field);
        for (const char *const *f = record->fields; f && *f && n < (int) PARTS_MAX; f++)
                parts[n++] = part(*f);

        (void) sd_journal_sendv(parts, n); /* there is nobody left to tell */
}

int journal_set_sink(void) {
        if (!journal_is_stderr())
                return 0;

        log_set_sink(send_record, /* userdata= */ NULL);
        return 1;
}

void journal_set_node(const char *name) {
        assert(name);

        snprintf(node_field, sizeof(node_field), "DRMQ_NODE=%s", name);
}
