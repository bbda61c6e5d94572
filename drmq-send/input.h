/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A stream of bytes, cut into records without copying them: at a delimiter, or by lengths of four
 * bytes, the highest first. Records are borrowed until the next input_fill().
 *
 *     for (;;) {
 *             while ((r = input_next(&in, &p, &n)) > 0)
 *                     …
 *             if (r < 0 || in.is_at_end)
 *                     break;
 *             r = input_fill(&in);
 *     }
 */

#include "base/macro.h"

/* Of a message; drmq_producer_send(). A record of JSON is larger than what it stands for. */
#define MESSAGE_BYTES_MAX ((size_t) 8 << 20)
#define JSON_BYTES_MAX ((size_t) 64 << 20)

struct input {
        int fd; /* borrowed */
        const char *delimiter;
        size_t n_delimiter; /* 0: lengths before each record */
        size_t record_max;
        char *data;
        size_t n_allocated, begin, end; /* what was read and not yet given out */
        size_t n_searched;              /* of that, without a delimiter in it */
        uint64_t n_records;             /* given out so far: the last one's number */
        uint64_t n_bytes;               /* read so far */
        bool is_at_end;
};

/* @delimiter: borrows for the life of the input. Return: 0; -ENOMEM. */
int input_init(
        struct input *in, int fd, const char *delimiter, size_t n_delimiter, size_t record_max);
void input_done(struct input *in);

/* Reads more; waits where there is none. Return: 0, also at the end; -ENOMEM; what read(2) says;
 * -EINTR is told. */
int input_fill(struct input *in);

/**
 * input_next() - the next record
 *
 * At the end, what has no delimiter behind it is a record too.
 *
 * Return: 1; 0 there is none: input_fill(), or it was the last; -EMSGSIZE it is longer than
 * record_max; -EBADMSG the stream ends within a length or its record. Its number is n_records + 1
 * then.
 */
int input_next(struct input *in, const char **ret, size_t *ret_n);
