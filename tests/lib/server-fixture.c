/* SPDX-License-Identifier: Apache-2.0 */

/* The broker's core on a loop and a Unix socket: the daemon without its shell. */

#include "tests/lib/server-fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/parse.h"
#include "drmqd/core/broker.h"
#include "loop/io-loop.h"
#include "loop/listen.h"
#include "tests/lib/test.h"

struct child {
        sd_event *event;
        struct broker *broker;
        int ready_fd;
};

static void on_ready(void *userdata) {
        struct child *c = userdata;

        (void) !write(c->ready_fd, "r", 1);
}

static void on_stopped(void *userdata) {
        struct child *c = userdata;

        (void) sd_event_exit(c->event, 0);
}

static void on_fatal(void *userdata, int error, const char *what) {
        (void) userdata;
        (void) error;
        printf("# the broker stops: %s\n", what);
        _exit(EXIT_FAILURE);
}

static void on_accept(struct listener *l, struct io_stream *s, void *userdata) {
        struct child *c = userdata;

        (void) l;
        (void) broker_accept(c->broker, s);
}

static int on_term(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        struct child *c = userdata;

        (void) source;
        (void) info;
        broker_stop(c->broker);
        return 0;
}

static _noreturn_ void run_broker(const struct server *s, int ready_fd) {
        static const struct broker_events events = {
                .on_ready = on_ready,
                .on_stopped = on_stopped,
                .on_fatal = on_fatal,
        };
        struct child c = { .ready_fd = ready_fd };
        struct address address = { .path = (char *) s->brokers + strlen("unix:") };
        struct listener *listener = NULL;
        struct broker_config config;
        struct io_loop *loop = NULL;
        char *what = NULL;
        sigset_t mask;
        int r;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigemptyset(&mask);
        sigaddset(&mask, SIGTERM);
        sigprocmask(SIG_BLOCK, &mask, NULL);

        broker_config_init(&config);
        config.data_dir = s->data_dir;
        r = sd_event_new(&c.event);
        if (r >= 0)
                r = sd_event_add_signal(c.event, NULL, SIGTERM, on_term, &c);
        if (r >= 0)
                r = io_loop_new(c.event, NULL, &loop);
        if (r >= 0)
                r = broker_new(io_loop_io(loop), &config, &events, &c, &c.broker, &what);
        if (r >= 0)
                r = listener_new(loop, &address, on_accept, &c, &listener);
        if (r >= 0) {
                broker_start(c.broker);
                r = sd_event_loop(c.event);
        }
        if (r < 0)
                printf("# the broker failed: %d, %s\n", r, what ?: "");
        fflush(stdout);
        broker_free(c.broker);
        listener_free(listener);
        io_loop_free(loop);
        sd_event_unref(c.event);
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

void server_start(struct server *s) {
        char ready;
        int fds[2];

        if (!s->data_dir[0]) {
                const char *dir = test_tmpdir();

                (void) snprintf(s->data_dir, sizeof(s->data_dir), "%s/data", dir);
                (void) snprintf(s->brokers, sizeof(s->brokers), "unix:%s/socket", dir);
        }
        ASSERT_OK(pipe(fds));
        fflush(stdout);
        s->pid = fork();
        ASSERT_OK(s->pid);
        if (s->pid == 0) {
                close(fds[0]);
                run_broker(s, fds[1]);
        }
        close(fds[1]);
        ASSERT_EQ(read(fds[0], &ready, 1), 1);
        close(fds[0]);
}

void server_end(struct server *s, int sig) {
        int status;

        ASSERT_OK(kill(s->pid, sig));
        ASSERT_EQ(waitpid(s->pid, &status, 0), s->pid);
        if (sig == SIGTERM)
                ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
