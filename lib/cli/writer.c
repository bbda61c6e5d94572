/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Gathers output, and writes the forms that are needed at full speed: numbers, JSON strings,
 * base64.
 *
 * I1: n <= n_max; what is larger goes out by itself.
 */

#include "cli/writer.h"

#include <poll.h>

#include "base/alloc.h"
#include "base/fs.h"

int writer_init(struct writer *w, int fd, size_t n_max) {
        assert(w);
        assert(fd >= 0);
        assert(n_max >= 64); /* numbers and characters are put whole */

        *w = (struct writer){ .fd = fd, .n_max = n_max };
        w->data = mem_alloc(n_max);
        return w->data ? 0 : -ENOMEM;
}

void writer_done(struct writer *w) {
        assert(w);

        w->data = mem_free(w->data);
        w->n = w->n_max = 0;
}

static void write_out(struct writer *w, const void *p, size_t n) {
        if (w->error == 0 && n > 0)
                w->error = fd_write_full(w->fd, p, n);
}

int writer_flush(struct writer *w) {
        assert(w);

        write_out(w, w->data, w->n);
        w->n = 0;
        return w->error;
}

bool writer_has_lost_reader(struct writer *w) {
        struct pollfd p = { .fd = w->fd };

        assert(w);

        /* The end of a pipe without readers, or of a socket: poll(2), "POLLERR". */
        if (w->error == 0 && poll(&p, 1, /* timeout_ms= */ 0) > 0 && p.revents & POLLERR)
                w->error = -EPIPE;
        return w->error == -EPIPE;
}

void writer_put_large(struct writer *w, const void *p, size_t n) {
        (void) writer_flush(w); /* the error stays in w->error */
        if (n > w->n_max) {     /* I1 */
                write_out(w, p, n);
                return;
        }
        memcpy(w->data, p, n);
        w->n = n;
}

void writer_put_string(struct writer *w, const char *s) {
        writer_put(w, s, strlen(s));
}

void writer_put_uint(struct writer *w, uint64_t v) {
        char digits[20], *p = digits + sizeof(digits);

        do
                *--p = (char) ('0' + v % 10);
        while ((v /= 10) > 0);
        writer_put(w, p, (size_t) (digits + sizeof(digits) - p));
}

void writer_put_int(struct writer *w, int64_t v) {
        if (v < 0)
                writer_put_byte(w, '-');
        writer_put_uint(w, v < 0 ? -(uint64_t) v : (uint64_t) v);
}

static void put_escaped(struct writer *w, unsigned char c) {
        static const char hex[] = "0123456789abcdef";
        char sequence[6] = "\\u00";

        switch (c) {
        case '"':
        case '\\':
                sequence[1] = (char) c;
                break;
        case '\n':
                sequence[1] = 'n';
                break;
        case '\r':
                sequence[1] = 'r';
                break;
        case '\t':
                sequence[1] = 't';
                break;
        default:
                sequence[4] = hex[c >> 4];
                sequence[5] = hex[c & 15];
                writer_put(w, sequence, 6);
                return;
        }
        writer_put(w, sequence, 2);
}

void writer_put_json(struct writer *w, const char *s, size_t n) {
        size_t begin = 0;

        writer_put_byte(w, '"');
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char) s[i];

                if (c >= ' ' && c != '"' && c != '\\' && c != 0x7f)
                        continue;
                writer_put(w, s + begin, i - begin);
                put_escaped(w, c);
                begin = i + 1;
        }
        writer_put(w, s + begin, n - begin);
        writer_put_byte(w, '"');
}

void writer_put_base64(struct writer *w, const void *p, size_t n) {
        static const char alphabet[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const uint8_t *s = p;

        for (; n > 0; s += MIN(n, (size_t) 3), n -= MIN(n, (size_t) 3)) {
                uint32_t v = (uint32_t) s[0] << 16 | (n > 1 ? (uint32_t) s[1] << 8 : 0) |
                             (n > 2 ? s[2] : 0);
                char group[4] = { alphabet[v >> 18],
                                  alphabet[v >> 12 & 63],
                                  n > 1 ? alphabet[v >> 6 & 63] : '=',
                                  n > 2 ? alphabet[v & 63] : '=' };

                writer_put(w, group, sizeof(group));
        }
}

/* Length of the sequence that @c begins, and the range of its second byte (Unicode 15, table 3-7);
 * 0: begins none. */
static unsigned utf8_sequence(uint8_t c, uint8_t *ret_low, uint8_t *ret_high) {
        *ret_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        *ret_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (c >= 0xc2 && c <= 0xdf)
                return 2;
        if (c >= 0xe0 && c <= 0xef)
                return 3;
        if (c >= 0xf0 && c <= 0xf4)
                return 4;
        return 0;
}

bool utf8_is_valid(const void *p, size_t n) {
        const uint8_t *s = p;
        size_t i = 0;

        while (i < n) {
                uint8_t low, high;
                uint64_t word;
                unsigned k;

                if (n - i >= sizeof(word)) { /* eight of ASCII at once */
                        memcpy(&word, s + i, sizeof(word));
                        if ((word & UINT64_C(0x8080808080808080)) == 0) {
                                i += sizeof(word);
                                continue;
                        }
                }
                if (s[i] < 0x80) {
                        i++;
                        continue;
                }

                k = utf8_sequence(s[i], &low, &high);
                if (k == 0 || n - i < k || s[i + 1] < low || s[i + 1] > high)
                        return false;
                for (unsigned j = 2; j < k; j++)
                        if ((s[i + j] & 0xc0) != 0x80)
                                return false;
                i += k;
        }
        return true;
}
