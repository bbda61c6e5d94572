/* SPDX-License-Identifier: Apache-2.0 */
/* Wiring and words: what the broker's events and errors mean for a process. */
#include "drmqd/shell.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/format.h"
#include "base/fs.h"
#include "base/logging.h"
#include "base/messages.h"
#include "drmqd/usage.h"
#include "loop/io-loop.h"
#include "loop/journal.h"
#include "loop/listen.h"
#include "loop/notify.h"

#define SOCKET_DIR "/run/drmq"
/* Clients that came before the broker served. */
#define EARLY_MAX 64u

struct shell {
        struct config *config;
        sd_event *event;
        struct io_loop *loop;
        struct listener *listeners[LISTEN_MAX + 1];
        size_t n_listeners;
        struct io_stream *early[EARLY_MAX];
        size_t n_early;
        struct broker *broker;
        bool is_ready;
        bool is_stopping;
        struct tracer tracer;
};

static void shell_done(struct shell *s) {
        broker_free(s->broker);
        for (size_t i = 0; i < s->n_early; i++)
                io_stream_close(s->early[i]);
        for (size_t i = 0; i < s->n_listeners; i++)
                listener_free(s->listeners[i]);
        io_loop_free(s->loop);
        sd_event_unref(s->event);
}

static void on_trace(void *userdata, const struct log_record *record) {
        (void) userdata;
        log_emit(record);
}

static void shell_let_in(struct shell *s, struct io_stream *stream) {
        int r;

        r = broker_accept(s->broker, stream);
        if (r == -EMFILE)
                log_event(LOG_WARNING,
                          DRMQ_MESSAGE_CONNECTION_REFUSED,
                          /* fields= */ NULL,
                          "A connection was refused: there are %" PRIu64
                          " already (limits.connections)",
                          s->config->broker.connections_max);
}

static void on_accept(struct listener *l, struct io_stream *stream, void *userdata) {
        struct shell *s = userdata;

        (void) l;
        if (s->is_ready)
                shell_let_in(s, stream);
        else if (s->n_early < EARLY_MAX)
                s->early[s->n_early++] = stream;
        else
                io_stream_close(stream); /* it comes again */
}

static void on_broker_ready(void *userdata) {
        struct shell *s = userdata;
        struct broker_summary summary;

        s->is_ready = true;
        broker_summary(s->broker, &summary);
        log_event(LOG_INFO,
                  DRMQ_MESSAGE_STARTED,
                  NULL,
                  "Node %s serves %" PRIu64 " topics from %s; the start read %" PRIu64 " entries",
                  s->config->node_name,
                  summary.n_topics,
                  s->config->data_dir,
                  summary.n_replayed);
        if (!summary.is_writable)
                log_event(
                        LOG_WARNING,
                        DRMQ_MESSAGE_CORRUPTION_FOUND,
                        FIELDS(FIELD_FILE(s->config->data_dir)),
                        "The end of the log is damaged: what is good is served, nothing new is taken");
        notify_status("Serving %" PRIu64 " topics", summary.n_topics);
        notify_ready();

        for (size_t i = 0; i < s->n_early; i++)
                shell_let_in(s, s->early[i]);
        s->n_early = 0;
}

static void on_broker_stopped(void *userdata) {
        struct shell *s = userdata;

        (void) sd_event_exit(s->event, EX_OK); /* the loop runs: it cannot fail */
}

static void on_broker_fatal(void *userdata, int error, const char *what) {
        struct shell *s = userdata;

        (void) what; /* traced already */
        (void) sd_event_exit(s->event, error == -ENOMEM ? EX_OSERR : EX_IOERR);
}

static void on_broker_usage(void *userdata, struct broker_usage *ret) {
        (void) userdata;
        usage_read(ret);
}

static const struct broker_events broker_events = {
        .on_ready = on_broker_ready,
        .on_stopped = on_broker_stopped,
        .on_fatal = on_broker_fatal,
        .on_usage = on_broker_usage,
};

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        struct shell *s = userdata;

        (void) source;
        (void) si;
        if (s->is_stopping)
                return 0;

        s->is_stopping = true;
        s->is_ready = false;
        notify_stopping();
        for (size_t i = 0; i < s->n_listeners; i++)
                listener_free(s->listeners[i]);
        s->n_listeners = 0;
        broker_stop(s->broker);
        return 0;
}

/* Listening */

static int shell_listen(struct shell *s, const struct address *a) {
        int r;

        r = listener_new(s->loop, a, on_accept, s, &s->listeners[s->n_listeners]);
        if (r < 0)
                return r;

        log_info("Listening on %s", listener_name(s->listeners[s->n_listeners]));
        s->n_listeners++;
        return 0;
}

/* The folder where a socket of ours may be made; new string, NULL: there is none. */
static char *socket_dir(void) {
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        char *dir;

        if ((mkdir(SOCKET_DIR, 0755) >= 0 || errno == EEXIST) && access(SOCKET_DIR, W_OK) >= 0)
                return mem_strdup(SOCKET_DIR);
        if (!runtime || runtime[0] != '/')
                return NULL;

        dir = mem_asprintf("%s/drmq", runtime);
        if (dir && mkdir(dir, 0700) < 0 && errno != EEXIST)
                dir = mem_free(dir);
        return dir;
}

/* The socket named after the node, unless --listen names one. Nobody asked for it, so doing without
 * is no failure. */
static void shell_listen_by_name(struct shell *s) {
        _cleanup_(mem_freep) char *dir = NULL;
        struct address a = {};
        int r;

        for (size_t i = 0; i < s->config->n_listen; i++)
                if (s->config->listen[i].path)
                        return;

        dir = socket_dir();
        if (!dir)
                return;

        a.path = mem_asprintf("%s/%s.sock", dir, s->config->node_name);
        if (!a.path)
                return;
        r = shell_listen(s, &a);
        if (r == -EADDRINUSE)
                log_event(
                        LOG_WARNING,
                        DRMQ_MESSAGE_LISTEN_SKIPPED,
                        FIELDS(FIELD_PEER(a.path), FIELD_ERROR(r)),
                        "Another daemon listens on %s: this one has no socket (--node gives it a name of its own)",
                        a.path);
        else if (r < 0)
                log_event(LOG_WARNING,
                          DRMQ_MESSAGE_LISTEN_SKIPPED,
                          FIELDS(FIELD_PEER(a.path), FIELD_ERROR(r)),
                          "Cannot listen on %s, going on without: %s",
                          a.path,
                          strerrordesc_np(-r));
        address_done(&a);
}

static int shell_listen_all(struct shell *s) {
        struct config *c = s->config;
        int r;

        if (c->n_listen == 0) {
                c->listen[0] =
                        (struct address){ .host = mem_strdup("127.0.0.1"), .port = DEFAULT_PORT };
                if (!c->listen[0].host) {
                        log_oom();
                        return EX_OSERR;
                }
                c->n_listen = 1;
        }

        for (size_t i = 0; i < c->n_listen; i++) {
                _cleanup_(mem_freep) char *name = NULL;

                r = shell_listen(s, c->listen + i);
                if (r >= 0)
                        continue;
                name = format_address(c->listen + i);
                log_event(LOG_ERR,
                          DRMQ_MESSAGE_START_FAILED,
                          FIELDS(FIELD_PEER(name), FIELD_ERROR(r)),
                          "Cannot listen on %s: %s%s",
                          name ? name : "an address",
                          strerrordesc_np(-r),
                          r == -EADDRINUSE ? "; another process does (--port takes another one)"
                                           : "");
                return r == -EACCES || r == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
        }
        shell_listen_by_name(s);

        for (size_t i = 0; !c->advertise && i < s->n_listeners; i++)
                if (listener_port(s->listeners[i]) != 0 || i + 1 == s->n_listeners)
                        c->advertise = mem_strdup(listener_name(s->listeners[i]));
        if (!c->advertise) {
                log_oom();
                return EX_OSERR;
        }

        return EX_OK;
}

/* Opening */

static int open_error_status(int r) {
        switch (r) {
        case -EBUSY:
                return EX_UNAVAILABLE;
        case -EBADMSG:
                return EX_DATAERR;
        case -EPROTONOSUPPORT:
        case -EXDEV:
        case -ENOTEMPTY:
                return EX_CONFIG;
        case -EACCES:
        case -EPERM:
        case -EROFS:
                return EX_NOPERM;
        case -ENOENT:
        case -ENOTDIR:
                return EX_CANTCREAT;
        case -EIO:
        case -ENOSPC:
                return EX_IOERR;
        default:
                return EX_OSERR;
        }
}

/* What is to be said behind the thing that failed. NULL: nothing. */
static const char *open_error_hint(int r, bool is_explained) {
        switch (r) {
        case -EBUSY:
        case -EXDEV:
        case -ENOTEMPTY:
                return is_explained ? NULL : strerrordesc_np(-r);
        case -EBADMSG:
                return "its own records are damaged or missing; nothing was changed";
        case -EPROTONOSUPPORT:
                return "it was written by a newer version of drmqd";
        default:
                return strerrordesc_np(-r);
        }
}

static int shell_open(struct shell *s, usec_t started_usec) {
        _cleanup_(mem_freep) char *what = NULL;
        struct config *c = s->config;
        struct broker_config b = c->broker;
        const char *hint;
        int r;

        b.data_dir = c->data_dir;
        b.node_name = c->node_name;
        b.advertise = c->advertise;
        b.version = DRMQ_VERSION;
        b.pid = (uint64_t) getpid();
        b.started_usec = started_usec;
        s->tracer = (struct tracer){ .emit = on_trace };
        b.tracer = &s->tracer;

        r = broker_new(io_loop_io(s->loop), &b, &broker_events, s, &s->broker, &what);
        if (r < 0) {
                hint = open_error_hint(r, /* is_explained= */ what != NULL);
                log_event(LOG_ERR,
                          DRMQ_MESSAGE_START_FAILED,
                          FIELDS(FIELD_FILE(c->data_dir), FIELD_ERROR(r)),
                          "Cannot open data directory %s: %s%s%s",
                          c->data_dir,
                          what ? what : "",
                          what && hint ? ": " : "",
                          hint ? hint : "");
                return open_error_status(r);
        }

        return EX_OK;
}

/* As many descriptors as we are allowed: a connection is one. */
static void raise_nofile(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit); /* within the hard limit: allowed */
}

static int shell_start(struct shell *s) {
        usec_t started_usec = now_monotonic_usec();
        sigset_t signals;
        int r;

        raise_nofile();
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return log_error_errno(errno, "Cannot block signals: %m");

        r = sd_event_new(&s->event);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGTERM, on_signal, s);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGINT, on_signal, s);
        if (r >= 0)
                r = io_loop_new(s->event, NULL, &s->loop);
        if (r < 0) {
                (void) log_error_errno(r, "Cannot make an event loop: %m");
                return EX_OSERR;
        }

        r = shell_listen_all(s);
        if (r != EX_OK)
                return r;
        r = shell_open(s, started_usec);
        if (r != EX_OK)
                return r;

        broker_start(s->broker);
        return EX_OK;
}

int shell_run(struct config *c) {
        struct shell s = { .config = c };
        int r;

        assert(c);

        journal_set_node(c->node_name);
        r = shell_start(&s);
        if (r == EX_OK) {
                r = sd_event_loop(s.event);
                if (r < 0) {
                        (void) log_error_errno(r, "The event loop failed: %m");
                        r = EX_OSERR;
                }
        }

        shell_done(&s);
        return r;
}
