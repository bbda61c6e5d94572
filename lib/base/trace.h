/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How raft, log and core speak: they do not print, they emit records through a tracer that their
 * owner passes in. The daemon makes journal entries of them, the simulator and the raft scripts
 * make text to compare; so what people read is tested.
 */

#include <syslog.h>

#include "base/field.h"
#include "base/macro.h"

struct log_record;

/* Longer texts are cut. */
#define TRACE_TEXT_MAX 2048u

struct trace_progress {
        uint64_t shard;
        const char *what;   /* "reading the newest file" */
        uint64_t done, all; /* of something */
};

struct tracer {
        /* Borrows the record until it returns. */
        void (*emit)(void *userdata, const struct log_record *record);
        /* How far a start is that takes its time; called often, with what is at hand. May be NULL.
         * Return: 0; negative: give up. */
        int (*on_progress)(void *userdata, const struct trace_progress *p);
        void *userdata;
};

/* @t may be NULL (says nothing). @level: of <syslog.h>. @message_id: base/messages.h, or NULL below
 * LOG_NOTICE. @fields: FIELDS(…), or NULL. */
void trace(const struct tracer *t,
           int level,
           const char *message_id,
           const struct field *fields,
           const char *format,
           ...) _printf_(5, 6);

/* Tells that step @what of recovering @shard is so far; to be called before what takes its time, and
 * in between. Return: 0; negative: whoever waits for it gives up, and so must the caller, with that
 * error. */
int trace_progress(
        const struct tracer *t, uint64_t shard, const char *what, uint64_t done, uint64_t all);
