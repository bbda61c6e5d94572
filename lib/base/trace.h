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

struct tracer {
        /* Borrows the record until it returns. */
        void (*emit)(void *userdata, const struct log_record *record);
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
