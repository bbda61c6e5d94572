/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A limit in bytes with a high and a low mark: what "every queue is bounded" is made of. Charge
 * first, then allocate. Past the limit the owner stops reading from who asks (back-pressure) until
 * budget_is_low() again.
 */

#include "base/macro.h"

struct budget {
        size_t limit_bytes;
        size_t low_bytes; /* a stopped owner goes on at or below this */
        size_t used_bytes;
        size_t peak_bytes; /* the most that was used at a time */
};

/* @limit_bytes > 0, @low_bytes <= @limit_bytes. */
void budget_init(struct budget *b, size_t limit_bytes, size_t low_bytes);
/* Other marks, as in budget_init(). What is used stays, also where it is more than the limit: nothing
 * is charged then until enough was released. */
void budget_set_limit(struct budget *b, size_t limit_bytes, size_t low_bytes);
/* Return: 0; -EAGAIN past the limit, nothing charged: try again when something was released. One
 * charge is always let in when nothing is used, so that no request can be too large for ever. */
int budget_charge(struct budget *b, size_t n_bytes);
/* Charges without asking: for what is already there. */
void budget_charge_forced(struct budget *b, size_t n_bytes);
/* Gives back what was charged. */
void budget_release(struct budget *b, size_t n_bytes);
/* Whether the limit is reached: stop taking in. */
bool budget_is_full(const struct budget *b);
/* Whether a stopped owner may go on: at or below the low mark. */
bool budget_is_low(const struct budget *b);
