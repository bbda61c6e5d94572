/* SPDX-License-Identifier: Apache-2.0 */

/* Signals, counted, and seen by poll(2) through an eventfd(2): none is lost between a check and a
 * wait. */

#include "cli/interrupt.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct {
        volatile sig_atomic_t n, is_held;
        int fd;
        void (*on_signal)(unsigned n);
} interrupt = { .fd = -EBADF };

static void handle(int signal_number) {
        int saved_errno = errno;

        (void) signal_number;
        interrupt.n = interrupt.n + 1;
        (void) eventfd_write(interrupt.fd, 1); /* full means readable all the same */
        if (interrupt.on_signal && (interrupt.n > 1 || !interrupt.is_held))
                interrupt.on_signal((unsigned) interrupt.n);
        errno = saved_errno;
}

int interrupt_setup(void (*on_signal)(unsigned n)) {
        struct sigaction sa = { .sa_handler = handle };

        assert(interrupt.fd < 0);

        interrupt.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (interrupt.fd < 0)
                return -errno;
        interrupt.on_signal = on_signal;

        /* No SA_RESTART: a read(2) from a terminal ends too. */
        if (sigaction(SIGINT, &sa, NULL) < 0 || sigaction(SIGTERM, &sa, NULL) < 0)
                return -errno;
        sa.sa_handler = SIG_IGN;
        if (sigaction(SIGPIPE, &sa, NULL) < 0)
                return -errno;
        return 0;
}

void interrupt_hold(bool on) {
        interrupt.is_held = on;
}

unsigned interrupt_count(void) {
        return (unsigned) interrupt.n;
}

int interrupt_fd(void) {
        return interrupt.fd;
}

int interrupt_wait(int fd, int other, usec_t timeout_usec) {
        struct pollfd polls[] = {
                { .fd = fd, .events = POLLIN },
                { .fd = other, .events = POLLIN },
                { .fd = interrupt_fd(), .events = POLLIN },
        };
        struct timespec ts = { .tv_sec = (time_t) (timeout_usec / USEC_PER_SEC),
                               .tv_nsec = (long) (timeout_usec % USEC_PER_SEC * 1000) };
        int r;

        r = ppoll(polls, ELEMENTSOF(polls), timeout_usec == USEC_INFINITY ? NULL : &ts, NULL);
        if (r < 0)
                return errno == EINTR ? 0 : -errno;

        /* Anything but silence is for read(2) to tell: the end, an error. */
        return (polls[0].revents ? WAIT_INPUT : 0) | (polls[1].revents ? WAIT_OTHER : 0);
}
