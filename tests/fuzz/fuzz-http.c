/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The head of an HTTP request. However it is cut in pieces: before it is whole nothing is said of
 * it, and more bytes behind it change nothing.
 */

#include <stdlib.h>

#include "drmqd/core/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_request(const struct http_request *q, const uint8_t *data, size_t n) {
        char head[HTTP_ANSWER_HEAD_BYTES_MAX];
        size_t n_head;

        assert(q->status == 0 || q->status == 400 || q->status == 405 || q->status == 431 ||
               q->status == 505);
        if (q->status == 0) {
                const uint8_t *path = (const uint8_t *) q->path;

                assert(q->method != HTTP_OTHER);
                assert(q->path_bytes > 0);
                assert((path >= data && path + q->path_bytes <= data + n) || q->path_bytes == 1);
                assert(memchr(q->path, '?', q->path_bytes) == NULL);
        }
        (void) http_path_is(q, "/metrics");
        n_head = http_answer_head(head, q->status == 0 ? 200 : q->status, "text/plain", n);
        assert(n_head < sizeof(head));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        struct http_request whole, part;
        size_t low = 0, high = n;
        uint8_t *copy;

        if (n >= HTTP_MAGIC_BYTES)
                (void) http_is_request(data);
        if (http_parse(data, n, &whole) == 0) {
                assert(n < HTTP_HEAD_BYTES_MAX);
                return 0;
        }
        check_request(&whole, data, n);

        /* The first byte with which it is whole: by halves. */
        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (http_parse(data, middle, &part) == 1)
                        high = middle;
                else
                        low = middle + 1;
        }
        assert(high > 0 && high <= HTTP_HEAD_BYTES_MAX);

        /* In memory of its own, so that a step too far is seen. */
        copy = malloc(high);
        if (!copy)
                return 0;
        memcpy(copy, data, high);
        assert(http_parse(copy, high, &part) == 1);
        assert(part.status == whole.status && part.method == whole.method &&
               part.path_bytes == whole.path_bytes);
        free(copy);
        return 0;
}
