/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What programs tell people. To stderr ("drmqd: text", with "<N>" prefixes when stderr is a journal stream that has
 * no sink) unless a program sets a sink (lib/loop/journal.h). Library code logs at debug at most: it returns
 * errors. Levels are syslog's (LOG_ERR … LOG_DEBUG, <syslog.h>).
 *
 * %m is the errno of the call, as in systemd.
 */

#include <syslog.h>

#include "base/macro.h"

/* One event: a sentence without a full stop, and for an event of note its MESSAGE_ID (base/messages.h) and fields
 * "DRMQ_SHARD=1" (NULL-terminated). Borrows. */
struct log_record {
        int level;
        const char *message_id;   /* NULL: none */
        const char *const *fields; /* NULL: none */
        const char *text;
};

typedef void (*log_sink_t)(const struct log_record *record, void *userdata);

/* Called once, at the top of main(). @name prefixes lines on a terminal. */
void log_setup(const char *name, int max_level);
void log_set_sink(log_sink_t sink, void *userdata);
int log_max_level(void);

/* Logs and returns -abs(error), so that a failing path is one statement. */
int log_full_errno(int level, int error, const char *format, ...) _printf_(3, 4);
void log_event(int level, const char *message_id, const char *const *fields, const char *format, ...)
        _printf_(4, 5);

#define log_debug(...) ((void) log_full_errno(LOG_DEBUG, 0, __VA_ARGS__))
#define log_info(...) ((void) log_full_errno(LOG_INFO, 0, __VA_ARGS__))
#define log_notice(...) ((void) log_full_errno(LOG_NOTICE, 0, __VA_ARGS__))
#define log_warning(...) ((void) log_full_errno(LOG_WARNING, 0, __VA_ARGS__))
#define log_error(...) ((void) log_full_errno(LOG_ERR, 0, __VA_ARGS__))
#define log_error_errno(error, ...) log_full_errno(LOG_ERR, (error), __VA_ARGS__)
#define log_warning_errno(error, ...) log_full_errno(LOG_WARNING, (error), __VA_ARGS__)
#define log_oom() log_full_errno(LOG_ERR, ENOMEM, "Out of memory")
