/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The list of brokers. Knows nothing of connections.
 *
 * I1: n > 0 and next < n.
 */

#include "client/bootstrap.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/format.h"

static int address_copy(const struct address *a, struct address *ret) {
        struct address copy = { .port = a->port };

        if (a->path) {
                copy.path = mem_strdup(a->path);
                if (!copy.path)
                        return -ENOMEM;
        } else {
                copy.host = mem_strdup(a->host);
                if (!copy.host)
                        return -ENOMEM;
        }

        *ret = copy;
        return 0;
}

int bootstrap_init(struct bootstrap *b, struct io *io, const struct address *addresses, size_t n) {
        struct bootstrap made = { .n = n };
        int r;

        assert(b);
        assert(addresses);
        assert(n > 0); /* I1 */

        made.addresses = new0(struct address, n);
        made.errors = new0(int, n);
        if (!made.addresses || !made.errors) {
                bootstrap_done(&made);
                return -ENOMEM;
        }

        for (size_t i = 0; i < n; i++) {
                r = address_copy(&addresses[i], &made.addresses[i]);
                if (r < 0) {
                        bootstrap_done(&made);
                        return r;
                }
        }

        /* Fisher and Yates. */
        for (size_t i = n - 1; i > 0; i--) {
                size_t k = (size_t) (io_random_u64(io) % (i + 1));
                struct address a = made.addresses[i];

                made.addresses[i] = made.addresses[k];
                made.addresses[k] = a;
        }
        made.next = n - 1; /* bootstrap_next() moves first */

        *b = made;
        return 0;
}

void bootstrap_done(struct bootstrap *b) {
        if (!b)
                return;

        for (size_t i = 0; b->addresses && i < b->n; i++)
                address_done(&b->addresses[i]);
        b->addresses = mem_free(b->addresses);
        b->errors = mem_free(b->errors);
        b->n = 0;
}

const struct address *bootstrap_next(struct bootstrap *b) {
        b->next = (b->next + 1) % b->n;
        return &b->addresses[b->next];
}

void bootstrap_result(struct bootstrap *b, int error) {
        assert(error <= 0);

        b->errors[b->next] = error;
}

const struct address *bootstrap_current(const struct bootstrap *b) {
        return &b->addresses[b->next];
}

bool bootstrap_is_exhausted(const struct bootstrap *b) {
        if (b->next != b->n - 1)
                return false;
        for (size_t i = 0; i < b->n; i++)
                if (b->errors[i] == 0)
                        return false;
        return true;
}

static const char *error_words(int error) {
        switch (-error) {
        case ENXIO:
                return "unknown host name";
        case EPROTO:
                return "does not speak DRMQ";
        case EPROTONOSUPPORT:
                return "speaks another version of the protocol";
        case ENOENT:
                return "no such socket";
        case ECONNRESET:
                return "closed the connection";
        default:
                return strerrordesc_np(-error) ?: "unknown error";
        }
}

int bootstrap_describe(const struct bootstrap *b, char *dest, size_t n_dest) {
        bool all_permission = true, all_protocol = true;
        size_t at = 0;
        int n;

        assert(n_dest > 0);

        n = snprintf(dest, n_dest, "cannot reach any broker (tried ");
        at = MIN((size_t) n, n_dest - 1);
        for (size_t i = 0; i < b->n; i++) {
                int e = b->errors[i];
                char *name = format_address(&b->addresses[i]);

                n = snprintf(dest + at,
                             n_dest - at,
                             "%s%s: %s",
                             i > 0 ? ", " : "",
                             name ?: "?",
                             e < 0 ? error_words(e) : "no answer");
                mem_free(name);
                at = MIN(at + (size_t) n, n_dest - 1);

                all_permission = all_permission && (e == -EACCES || e == -EPERM);
                all_protocol = all_protocol && (e == -EPROTO || e == -EPROTONOSUPPORT);
        }
        (void) snprintf(dest + at,
                        n_dest - at,
                        "); %s",
                        all_permission ? "may you use that socket?"
                        : all_protocol ? "is that a DRMQ port?"
                                       : "is drmqd running?");

        return all_permission ? -EPERM : all_protocol ? -EPROTO : -ENOTCONN;
}
