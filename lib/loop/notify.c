/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol of sd_notify(3), said by ourselves: the library waits for as long as the manager's
 * queue is full, and a manager that hangs would take the node with it. Results are ignored: one that
 * does not hear is no reason to fail.
 */
#include "loop/notify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/time.h"

#define TEXT_BYTES_MAX 768u
#define STORED_NAME_MAX 255u /* sd_pid_notify_with_fds(3) */
/* How long what matters waits for room in the manager's queue; what is said again soon does not. */
#define READY_WAIT_USEC (3 * USEC_PER_SEC)
#define WAIT_USEC USEC_PER_SEC

/* $NOTIFY_SOCKET. Return: whether it is an address. */
static bool manager_address(struct sockaddr_un *ret, socklen_t *ret_n) {
        const char *path = getenv("NOTIFY_SOCKET");
        size_t n = path ? strlen(path) : 0;

        if (n < 2 || n >= sizeof(ret->sun_path) || (path[0] != '/' && path[0] != '@'))
                return false;

        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(ret->sun_path, path, n);
        if (path[0] == '@') /* unix(7): an abstract one */
                ret->sun_path[0] = 0;
        *ret_n = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n + (path[0] == '/'));
        return true;
}

/* @passed: a descriptor to go with it, or negative. Return: 1; 0 there is nobody; negative errno. */
static int say(const char *text, int passed, usec_t wait_usec) {
        _cleanup_(fd_closep) int fd = -EBADF;
        union {
                struct cmsghdr header;
                uint8_t room[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct sockaddr_un address;
        struct iovec iov = { .iov_base = (char *) text, .iov_len = strlen(text) };
        struct msghdr message = { .msg_name = &address, .msg_iov = &iov, .msg_iovlen = 1 };
        const struct timeval wait = { .tv_sec = (time_t) (wait_usec / USEC_PER_SEC) };
        ssize_t k;

        if (!manager_address(&address, &message.msg_namelen))
                return 0;
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
                return -errno;

        if (passed >= 0) {
                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
                control.header = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                        .cmsg_len = CMSG_LEN(sizeof(int)),
                };
                memcpy(CMSG_DATA(&control.header), &passed, sizeof(int));
        }
        do
                k = sendmsg(fd, &message, MSG_NOSIGNAL | (wait_usec == 0 ? MSG_DONTWAIT : 0));
        while (k < 0 && errno == EINTR);
        return k < 0 ? -errno : 1;
}

bool notify_is_on(void) {
        return getenv("NOTIFY_SOCKET") != NULL;
}

void notify_ready(void) {
        (void) say("READY=1", /* passed= */ -1, READY_WAIT_USEC);
}

void notify_reloading(void) {
        char text[64];

        snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_monotonic_usec());
        (void) say(text, /* passed= */ -1, WAIT_USEC);
}

void notify_stopping(void) {
        (void) say("STOPPING=1", /* passed= */ -1, WAIT_USEC);
}

/* @before: whole lines. */
static _printf_(2, 0) void send_status(const char *before, const char *format, va_list ap) {
        char text[TEXT_BYTES_MAX];
        int n;

        n = snprintf(text, sizeof(text), "%sSTATUS=", before);
        assert(n > 0 && (size_t) n < sizeof(text));
        (void) vsnprintf(text + n, sizeof(text) - (size_t) n, format, ap);

        for (char *p = text + n; *p; p++) /* a line end would begin another variable */
                if (*p == '\n')
                        *p = ' ';

        (void) say(text, /* passed= */ -1, /* wait_usec= */ 0);
}

void notify_status(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        send_status("", format, ap);
        va_end(ap);
}

void notify_progress(usec_t extend_usec, const char *format, ...) {
        char extend[64];
        va_list ap;

        snprintf(extend, sizeof(extend), "EXTEND_TIMEOUT_USEC=%" PRIu64 "\n", extend_usec);
        va_start(ap, format);
        send_status(extend, format, ap);
        va_end(ap);
}

bool notify_name_is_valid(const char *name) {
        size_t n = strlen(name);

        for (size_t i = 0; i < n; i++)
                if (name[i] < ' ' || name[i] > '~' || name[i] == ':')
                        return false;
        return n > 0 && n <= STORED_NAME_MAX;
}

void notify_store(int fd, const char *name) {
        char text[STORED_NAME_MAX + 64];

        assert(fd >= 0);
        assert(notify_name_is_valid(name));

        snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
        (void) say(text, fd, WAIT_USEC);
}

void notify_unstore(const char *name) {
        char text[STORED_NAME_MAX + 64];

        assert(name);

        if (!notify_name_is_valid(name))
                return; /* nothing is stored by it */

        snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
        (void) say(text, /* passed= */ -1, WAIT_USEC);
}

int notify_wait(usec_t timeout_usec) {
        usec_t deadline_usec = usec_add(now_monotonic_usec(), timeout_usec);
        struct pollfd p = { .events = 0 };
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        r = say("BARRIER=1", fds[1], WAIT_USEC);
        fd_close(fds[1]);

        /* It is through with what came before when it closes the descriptor. */
        for (p.fd = fds[0]; r > 0 && !(p.revents & POLLHUP);) {
                usec_t left_usec = usec_sub(deadline_usec, now_monotonic_usec());

                if (left_usec == 0)
                        r = -ETIMEDOUT;
                else if (poll(&p, 1, (int) (left_usec / USEC_PER_MSEC) + 1) < 0 && errno != EINTR)
                        r = -errno;
        }
        fd_close(fds[0]);
        return r;
}

usec_t notify_watchdog_usec(void) {
        uint64_t usec;

        return sd_watchdog_enabled(/* unset_environment= */ 0, &usec) > 0 ? usec : USEC_INFINITY;
}

void notify_alive(void) {
        (void) say("WATCHDOG=1", /* passed= */ -1, /* wait_usec= */ 0);
}
