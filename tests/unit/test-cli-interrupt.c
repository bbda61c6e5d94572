/* SPDX-License-Identifier: Apache-2.0 */

/* Tests cli/interrupt.h: signals are counted, passed on unless held, and seen by a wait. */

#include <signal.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/interrupt.h"
#include "tests/lib/test.h"

static volatile sig_atomic_t n_passed;

static void on_signal(unsigned n) {
        n_passed = (sig_atomic_t) n;
}

TEST(signals_are_counted_and_passed_on) {
        int fd;

        ASSERT_OK(interrupt_setup(on_signal));
        ASSERT_EQ(interrupt_count(), 0);
        ASSERT_OK(raise(SIGINT));
        ASSERT_EQ(interrupt_count(), 1);
        ASSERT_EQ(n_passed, 1);
        ASSERT_OK(raise(SIGTERM));
        ASSERT_EQ(interrupt_count(), 2);
        ASSERT_EQ(n_passed, 2);

        fd = interrupt_fd();
        fd_close(fd);
}

TEST(the_first_signal_is_held_the_second_is_not) {
        int fd;

        ASSERT_OK(interrupt_setup(on_signal));
        interrupt_hold(true);
        ASSERT_OK(raise(SIGTERM));
        ASSERT_EQ(interrupt_count(), 1);
        ASSERT_EQ(n_passed, 0);
        ASSERT_OK(raise(SIGTERM));
        ASSERT_EQ(n_passed, 2);

        fd = interrupt_fd();
        fd_close(fd);
}

TEST(a_broken_pipe_is_an_error_like_others) {
        int fds[2], fd;

        ASSERT_OK(interrupt_setup(/* on_signal= */ NULL));
        ASSERT_OK(pipe(fds));
        fd_close(fds[0]);
        ASSERT_ERROR(fd_write_full(fds[1], "x", 1), EPIPE);
        fd_close(fds[1]);

        fd = interrupt_fd();
        fd_close(fd);
}

TEST(a_wait_ends_by_input_time_or_signal) {
        int input[2], other[2], fd;

        ASSERT_OK(interrupt_setup(/* on_signal= */ NULL));
        ASSERT_OK(pipe(input));
        ASSERT_OK(pipe(other));

        ASSERT_EQ(interrupt_wait(input[0], other[0], /* timeout_usec= */ 0), 0);
        ASSERT_OK(fd_write_full(input[1], "x", 1));
        ASSERT_EQ(interrupt_wait(input[0], other[0], USEC_INFINITY), WAIT_INPUT);
        fd_close(other[1]); /* its end is something to read too */
        ASSERT_EQ(interrupt_wait(input[0], other[0], USEC_INFINITY), WAIT_INPUT | WAIT_OTHER);
        ASSERT_EQ(interrupt_wait(-EBADF, other[0], USEC_INFINITY), WAIT_OTHER);

        ASSERT_OK(raise(SIGTERM)); /* before the wait: it is not lost */
        ASSERT_EQ(interrupt_wait(-EBADF, -EBADF, USEC_INFINITY), 0);

        fd_close(input[0]);
        fd_close(input[1]);
        fd_close(other[0]);
        fd = interrupt_fd();
        fd_close(fd);
}
