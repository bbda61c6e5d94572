/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * SIGINT and SIGTERM as something to look at: the first asks a program to finish what is in flight,
 * the second to give up. SIGPIPE is ignored, so that a reader that has gone is an error like
 * others.
 *
 * A signal handler has no argument: what is here is per process.
 */

#include "base/macro.h"
#include "base/time.h"

/* Sets the handlers. @on_signal: called from the handler with the number of signals so far, 1
 * first; does only what signal-safety(7) allows; NULL: nothing to call. Return: 0; -EMFILE and what
 * else eventfd(2) says. */
int interrupt_setup(void (*on_signal)(unsigned n));
/* While it is held, the first signal is counted, and on_signal() is not called: what is short and
 * must end whole. */
void interrupt_hold(bool on);
/* How many signals came so far. */
unsigned interrupt_count(void);
/* A descriptor that is readable from the first signal on; for poll(2). */
int interrupt_fd(void);

enum {
        WAIT_INPUT = 1 << 0,
        WAIT_OTHER = 1 << 1,
};

/**
 * interrupt_wait() - wait for input, for another descriptor, or for a signal
 * @fd, @other:   either may be -EBADF: not waited for
 * @timeout_usec: USEC_INFINITY: for ever
 *
 * Return: WAIT_INPUT where @fd and WAIT_OTHER where @other is readable or at its end; 0 time is up,
 * or a signal came. Negative errno as poll(2).
 */
int interrupt_wait(int fd, int other, usec_t timeout_usec);
