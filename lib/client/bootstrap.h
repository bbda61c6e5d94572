/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where the brokers are: a list of addresses, tried in random order, one after the other, for ever.
 * It remembers what became of each, so that "nobody answers" can be said in full.
 */

#include "base/parse.h"
#include "io/io.h"

struct bootstrap {
        struct address *addresses; /* shuffled once */
        int *errors; /* of each one's last attempt: 0 not tried, or it answered; negative errno */
        size_t n;
        size_t next;
};

/**
 * bootstrap_init() - copy and shuffle a list
 * @addresses: @n of them, n > 0; borrows until return
 *
 * Return: 0; -ENOMEM.
 */
int bootstrap_init(struct bootstrap *b, struct io *io, const struct address *addresses, size_t n);
void bootstrap_done(struct bootstrap *b);

/* The address to try next; borrows. Goes round. */
const struct address *bootstrap_next(struct bootstrap *b);
/* What became of the address that bootstrap_next() gave last: 0 it answers, or a negative errno. */
void bootstrap_result(struct bootstrap *b, int error);
/* The address that bootstrap_next() gave last; borrows. */
const struct address *bootstrap_current(const struct bootstrap *b);
/* Whether the last attempt completed a round in which every address failed. */
bool bootstrap_is_exhausted(const struct bootstrap *b);

/**
 * bootstrap_describe() - say what became of all
 *
 * "cannot reach any broker (tried 127.0.0.1:9092: Connection refused); is drmqd running?" into
 * @dest, cut where it does not fit.
 *
 * Return: what it comes to: -EPERM where all refused for that; -EPROTO where all speak something
 * else; else -ENOTCONN.
 */
int bootstrap_describe(const struct bootstrap *b, char *dest, size_t n_dest);
