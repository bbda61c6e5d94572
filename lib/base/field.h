/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a record is about, for programs: the DRMQ_… fields of a journal entry. The text says it too,
 * for people. There are these ten and no others; drmqd(8) lists them.
 *
 *     trace(t, LOG_NOTICE, DRMQ_MESSAGE_…, FIELDS(FIELD_SHARD(1), FIELD_TERM(7)), "Node 2 leads …");
 */

#include "base/macro.h"

enum field_kind {
        FIELD_TEXT,   /* NULL leaves the field out */
        FIELD_NUMBER, /* decimal */
        FIELD_ERRNO,  /* by name, "ENOSPC"; the sign does not matter */
};

struct field {
        const char *name; /* NULL: the list ends here */
        enum field_kind kind;
        const char *text;
        uint64_t number;
        int error;
};

/* A list that lives as long as the statement it stands in. */
#define FIELDS(...) ((const struct field[]){ __VA_ARGS__, { .name = NULL } })

/* The name of the node; the daemon adds it to every record. */
#define FIELD_NODE(s)                                                                              \
        { .name = "DRMQ_NODE", .kind = FIELD_TEXT, .text = (s) }
#define FIELD_SHARD(n)                                                                             \
        { .name = "DRMQ_SHARD", .kind = FIELD_NUMBER, .number = (n) }
#define FIELD_TERM(n)                                                                              \
        { .name = "DRMQ_TERM", .kind = FIELD_NUMBER, .number = (n) }
/* Of an entry of the shard's log. */
#define FIELD_INDEX(n)                                                                             \
        { .name = "DRMQ_INDEX", .kind = FIELD_NUMBER, .number = (n) }
#define FIELD_TOPIC(s)                                                                             \
        { .name = "DRMQ_TOPIC", .kind = FIELD_TEXT, .text = (s) }
/* Its id. */
#define FIELD_PARTITION(n)                                                                         \
        { .name = "DRMQ_PARTITION", .kind = FIELD_NUMBER, .number = (n) }
#define FIELD_GROUP(s)                                                                             \
        { .name = "DRMQ_GROUP", .kind = FIELD_TEXT, .text = (s) }
/* An address: whose connection it is, or what was listened on. */
#define FIELD_PEER(s)                                                                              \
        { .name = "DRMQ_PEER", .kind = FIELD_TEXT, .text = (s) }
#define FIELD_FILE(s)                                                                              \
        { .name = "DRMQ_FILE", .kind = FIELD_TEXT, .text = (s) }
#define FIELD_ERROR(e)                                                                             \
        { .name = "DRMQ_ERROR", .kind = FIELD_ERRNO, .error = (e) }

/* One of each, and a list that is longer or of longer texts is cut. */
#define FIELDS_MAX 10u
#define FIELDS_BYTES_MAX 6144u

/* "DRMQ_SHARD=1" and so on, NULL-terminated: as struct log_record has them. */
struct field_strings {
        const char *strings[FIELDS_MAX + 1];
        char bytes[FIELDS_BYTES_MAX];
};

/* @fields: NULL for none. */
void field_strings_make(struct field_strings *s, const struct field *fields);
