/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Cuts a stream into records.
 *
 * I1: begin <= begin + n_searched <= end <= n_allocated.
 * I2: a byte is searched once for a delimiter of one byte, however long the record is.
 */

#include "drmq-send/input.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"

#define CHUNK_BYTES ((size_t) 1 << 20)
#define LENGTH_BYTES 4u

int input_init(
        struct input *in, int fd, const char *delimiter, size_t n_delimiter, size_t record_max) {

        assert(in);
        assert(delimiter || n_delimiter == 0);

        *in = (struct input){
                .fd = fd,
                .delimiter = delimiter,
                .n_delimiter = n_delimiter,
                .record_max = record_max,
        };
        if (!grow(in->data, in->n_allocated, CHUNK_BYTES))
                return -ENOMEM;

        /* A pipe holds 64 KiB: more of it at once is fewer turns. Where it is no pipe, or may not,
         * it stays. */
        (void) fcntl(fd, F_SETPIPE_SZ, (int) CHUNK_BYTES);
        return 0;
}

void input_done(struct input *in) {
        in->data = mem_free(in->data);
        in->n_allocated = in->begin = in->end = in->n_searched = 0;
}

int input_fill(struct input *in) {
        ssize_t k;

        /* A rest at the end moves to the front; a record that fills all gets twice the room. */
        if (in->begin > 0 && in->n_allocated - in->end < CHUNK_BYTES / 2) {
                memmove(in->data, in->data + in->begin, in->end - in->begin);
                in->end -= in->begin;
                in->begin = 0;
        }
        if (!grow(in->data, in->n_allocated, in->end + CHUNK_BYTES / 2))
                return -ENOMEM;

        k = read(in->fd, in->data + in->end, in->n_allocated - in->end);
        if (k < 0)
                return -errno;

        in->is_at_end = k == 0;
        in->end += (size_t) k;
        in->n_bytes += (uint64_t) k;
        return 0;
}

static int
give(struct input *in, size_t skip, size_t n, size_t n_behind, const char **ret, size_t *ret_n) {
        if (n > in->record_max)
                return -EMSGSIZE;

        *ret = in->data + in->begin + skip;
        *ret_n = n;
        in->begin += skip + n + n_behind;
        in->n_searched = 0;
        in->n_records++;
        return 1;
}

static int next_framed(struct input *in, const char **ret, size_t *ret_n) {
        const char *p = in->data + in->begin;
        size_t n_left = in->end - in->begin, n;

        if (n_left < LENGTH_BYTES)
                return in->is_at_end && n_left > 0 ? -EBADMSG : 0;

        n = be32_load(p);
        if (n > in->record_max)
                return -EMSGSIZE;
        if (n_left - LENGTH_BYTES < n)
                return in->is_at_end ? -EBADMSG : 0;
        return give(in, LENGTH_BYTES, n, /* n_behind= */ 0, ret, ret_n);
}

int input_next(struct input *in, const char **ret, size_t *ret_n) {
        const char *p, *found;
        size_t n_left, n_again;

        if (in->n_delimiter == 0)
                return next_framed(in, ret, ret_n);

        p = in->data + in->begin;
        n_left = in->end - in->begin;
        if (in->n_delimiter == 1)
                found = memchr(p + in->n_searched, *in->delimiter, n_left - in->n_searched);
        else
                found = memmem(p + in->n_searched,
                               n_left - in->n_searched,
                               in->delimiter,
                               in->n_delimiter);
        if (found)
                return give(in, 0, (size_t) (found - p), in->n_delimiter, ret, ret_n);

        if (n_left > in->record_max + in->n_delimiter)
                return -EMSGSIZE;
        if (in->is_at_end)
                return n_left > 0 ? give(in, 0, n_left, /* n_behind= */ 0, ret, ret_n) : 0;

        /* I2. The beginning of a longer delimiter may stand at the end. */
        n_again = MIN(n_left, in->n_delimiter - 1);
        in->n_searched = n_left - n_again;
        return 0;
}
