/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A limit in bytes.
 *
 * I1: used_bytes is what was charged and not released.
 * I2: budget_charge() leaves used_bytes at or below limit_bytes, except for one charge on an empty
 * budget.
 */

#include "base/budget.h"

void budget_init(struct budget *b, size_t limit_bytes, size_t low_bytes) {
        assert(b);
        assert(limit_bytes > 0);
        assert(low_bytes <= limit_bytes);

        *b = (struct budget){ .limit_bytes = limit_bytes, .low_bytes = low_bytes };
}

void budget_set_limit(struct budget *b, size_t limit_bytes, size_t low_bytes) {
        assert(b);
        assert(limit_bytes > 0);
        assert(low_bytes <= limit_bytes);

        b->limit_bytes = limit_bytes;
        b->low_bytes = low_bytes;
}

int budget_charge(struct budget *b, size_t n_bytes) {
        assert(b);

        if (b->used_bytes > 0 &&
            (b->used_bytes >= b->limit_bytes || n_bytes > b->limit_bytes - b->used_bytes))
                return -EAGAIN; /* I2 */

        budget_charge_forced(b, n_bytes);
        return 0;
}

void budget_charge_forced(struct budget *b, size_t n_bytes) {
        assert(b);
        assert(n_bytes <= SIZE_MAX - b->used_bytes);

        b->used_bytes += n_bytes;
        b->peak_bytes = MAX(b->peak_bytes, b->used_bytes);
}

void budget_release(struct budget *b, size_t n_bytes) {
        assert(b);
        assert(n_bytes <= b->used_bytes); /* I1 */

        b->used_bytes -= n_bytes;
}

bool budget_is_full(const struct budget *b) {
        assert(b);

        return b->used_bytes >= b->limit_bytes;
}

bool budget_is_low(const struct budget *b) {
        assert(b);

        return b->used_bytes <= b->low_bytes;
}
