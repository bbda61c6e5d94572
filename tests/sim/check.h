/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Checkers: they stand outside of broker and clients and judge by what went in, what came out and
 * what is on the disk. The first violation ends a run. Each has a name, by which the tests of
 * planted bugs know it:
 *
 *     acknowledged  a message that was acknowledged is at its offset (check-messages.c)
 *     invented      what is read was sent, to that topic, byte for byte (")
 *     dense         the offsets of a partition are 0 to n - 1, and a reader meets them in turn (")
 *     order         of one producer, in one partition, messages are in the order in which they were
 *     given (")
 *     twice         no message has two offsets (")
 *     agree         an offset has the same message whoever reads it, whenever (")
 *     retention     what is gone was to go, and stays gone (check-retention.c)
 *     snapshot      what was made is there, and whole (check-snapshots.c)
 *     positions     a committed position does not go back (check-positions.c)
 *     topics        a topic is there from its making to its deletion; a partition's id is never
 *                   given twice (check-topics.c)
 *     durable       what was on disk, and named durable, is there after a start, as it was
 *     (check-disk.c)
 *     hardstate     nothing that was answered for is forgotten: each start has a higher term and
 *     state (")
 *     start         a broker starts on what a crash leaves, and replays nothing after a stop in
 *     good order (server.c, run.c)
 *     running       a broker stops only for a reason that it was given (")
 *     damage        damage is found, by a start or a reader, only where some was done (server.c,
 *     clients.c)
 *     live          when the faults have ended everything comes to its end (run.c)
 *     leak          when all are gone their memory is free (")
 */

#include "base/macro.h"
#include "tests/sim/trace.h"

struct sim_verdict {
        struct sim_trace *trace; /* may be NULL */
        const char *checker;     /* NULL: nothing was violated */
        char text[512];
};

/* Notes it, if it is the first. */
void sim_violation(struct sim_verdict *v, const char *checker, const char *format, ...)
        _printf_(3, 4);
