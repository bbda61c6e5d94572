/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What programs tell people. Library code logs at debug at most: it returns errors. Levels are
 * syslog's (LOG_ERR … LOG_DEBUG, <syslog.h>).
 *
 * Without a sink (lib/loop/journal.h has one) a line goes to stderr: "drmqd: text" on a terminal,
 * "<3>text" when stderr is the journal (sd-daemon(3)). Control characters in the text, which may
 * come from a stranger, become spaces, so that one record is one line.
 *
 * %m is the error that the call names, as in systemd. errno is left alone.
 *
 * log_setup() and log_set_sink() are called before there are threads; the rest is safe from any
 * thread, as far as the sink is.
 */

#include <syslog.h>

#include "base/field.h"
#include "base/macro.h"

/* One event: a sentence without a full stop, and for an event of note its MESSAGE_ID
 * (base/messages.h) and fields "DRMQ_SHARD=1" (NULL-terminated). Borrows. */
struct log_record {
        int level;
        const char *message_id;    /* NULL: none */
        const char *const *fields; /* NULL: none */
        const char *text;
};

typedef void (*log_sink_t)(const struct log_record *record, void *userdata);

/* Longer texts are cut. */
#define LOG_TEXT_MAX 4096u

/* Called once, at the top of main(), before anything is opened: standard streams that are closed
 * are held (fd_hold_standard()), so that no line ends in a file or socket. @name prefixes lines on
 * a terminal (borrows, for ever); records of a level above @max_level are dropped. Before this call
 * nothing is prefixed, and the level is LOG_INFO. */
void log_setup(const char *name, int max_level);
/* NULL: stderr again. @userdata is borrowed until then. */
void log_set_sink(log_sink_t sink, void *userdata);
/* Records of a level above @level are dropped from now on. Where there are threads they see it soon. */
void log_set_max_level(int level);
int log_max_level(void);

/* Logs and returns -abs(error), so that a failing path is one statement; 0 where @error is 0. */
int log_full_errno(int level, int error, const char *format, ...) _printf_(3, 4);
/* An event: @message_id of base/messages.h; @fields: FIELDS(…), or NULL. */
void log_event(int level,
               const char *message_id,
               const struct field *fields,
               const char *format,
               ...) _printf_(4, 5);
/* A record that is made already, as trace records are. */
void log_emit(const struct log_record *record);

#define log_debug(...) ((void) log_full_errno(LOG_DEBUG, 0, __VA_ARGS__))
#define log_info(...) ((void) log_full_errno(LOG_INFO, 0, __VA_ARGS__))
#define log_notice(...) ((void) log_full_errno(LOG_NOTICE, 0, __VA_ARGS__))
#define log_warning(...) ((void) log_full_errno(LOG_WARNING, 0, __VA_ARGS__))
#define log_error(...) ((void) log_full_errno(LOG_ERR, 0, __VA_ARGS__))
#define log_error_errno(error, ...) log_full_errno(LOG_ERR, (error), __VA_ARGS__)
#define log_warning_errno(error, ...) log_full_errno(LOG_WARNING, (error), __VA_ARGS__)
#define log_oom() log_full_errno(LOG_ERR, ENOMEM, "Out of memory")
