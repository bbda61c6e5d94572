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
#include "drmqd/sockets.h"
#include "drmqd/usage.h"
#include "loop/io-loop.h"
#include "loop/journal.h"
#include "loop/notify.h"

/* Clients that came before the broker served. */
#define EARLY_MAX 64u
/* How often the manager is told how things are, at most, and how often it is told of a start. */
#define STATUS_USEC (10 * USEC_PER_SEC)
#define PROGRESS_USEC (1 * USEC_PER_SEC)
/* How long a start may be silent: longer than any read from a disk that still works. */
#define PROGRESS_EXTEND_USEC (60 * USEC_PER_SEC)
/* How often people are told that a start takes its time. */
#define PROGRESS_LOG_USEC (10 * USEC_PER_SEC)
/* How often it is told that connections are refused. */
#define REFUSED_USEC (10 * USEC_PER_SEC)

struct shell {
        struct config *config;
        const struct config_sources *sources;
        struct broker_setting *settings; /* what the broker tells of the configuration */
        sd_event *event;
        struct io_loop *loop;
        struct passed_fd *passed;
        size_t n_passed;
        struct sockets sockets;
        struct io_stream *early[EARLY_MAX];
        size_t n_early;
        struct broker *broker;
        bool is_ready;
        bool is_stopping;
        struct tracer tracer;
        struct io_timer watchdog_timer;
        struct io_timer status_timer; /* set while somebody is connected */
        bool status_is_set;
        usec_t progress_usec, progress_log_usec; /* when progress is told next */
        usec_t refused_usec;                     /* the same of refused connections */
        uint64_t n_refused;                      /* since it was told */
};

static void shell_done(struct shell *s) {
        broker_free(s->broker);
        config_settings_free(s->settings);
        for (size_t i = 0; i < s->n_early; i++)
                io_stream_close(s->early[i]);
        sockets_close(&s->sockets);
        passed_fds_free(s->passed, s->n_passed);
        if (s->loop) {
                io_timer_cancel(io_loop_io(s->loop), &s->status_timer);
                io_timer_cancel(io_loop_io(s->loop), &s->watchdog_timer);
        }
        io_loop_free(s->loop);
        sd_event_unref(s->event);
}

static void on_trace(void *userdata, const struct log_record *record) {
        (void) userdata;
        log_emit(record);
}

static bool is_asked_to_stop(void) {
        sigset_t pending;

        return sigpending(&pending) >= 0 &&
               (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT));
}

/* The loop does not run while the log is recovered: this is all that is heard and said meanwhile. */
static int on_progress(void *userdata, const struct trace_progress *p) {
        const unsigned percent =
                p->all > 0 ? (unsigned) ((double) p->done * 100 / (double) p->all) : 0;
        const usec_t now = now_monotonic_usec();
        struct shell *s = userdata;

        if (s->is_ready || now < s->progress_usec)
                return 0;

        s->progress_usec = usec_add(now, PROGRESS_USEC);
        notify_progress(PROGRESS_EXTEND_USEC,
                        "Recovering shard %" PRIu64 ": %s, %u%%",
                        p->shard,
                        p->what,
                        percent);
        if (s->progress_log_usec == 0)
                s->progress_log_usec = usec_add(now, PROGRESS_LOG_USEC);
        if (now >= s->progress_log_usec) {
                s->progress_log_usec = usec_add(now, PROGRESS_LOG_USEC);
                log_info("Recovering shard %" PRIu64 ": %s, %u%%", p->shard, p->what, percent);
        }

        return !s->broker && is_asked_to_stop() ? -ECANCELED : 0;
}

/* Status */

static void tell_status(struct shell *s) {
        struct broker_summary summary;
        char size[FORMAT_MAX];

        broker_summary(s->broker, &summary);
        notify_status("%sRole: %s, term: %" PRIu64 ", topics: %" PRIu64
                      ", log: %s, connections: %" PRIu64,
                      summary.is_writable ? "" : "Damaged, takes nothing new. ",
                      summary.role,
                      summary.term,
                      summary.n_topics,
                      format_bytes(size, summary.log_bytes),
                      summary.n_connections);
        s->status_is_set = summary.n_connections > 0;
        if (s->status_is_set) {
                struct io *io = io_loop_io(s->loop);

                /* without memory for the timer: when the next client comes */
                s->status_is_set =
                        io_timer_set(io, &s->status_timer, usec_add(io_now(io), STATUS_USEC)) >= 0;
        }
}

static void on_status_timer(struct io_timer *t, void *userdata) {
        struct shell *s = userdata;

        (void) t;
        if (!s->is_stopping)
                tell_status(s);
}

/* Clients */

static void tell_refused(struct shell *s) {
        const usec_t now = now_monotonic_usec();

        s->n_refused++;
        if (now < s->refused_usec)
                return;

        log_event(LOG_WARNING,
                  DRMQ_MESSAGE_CONNECTION_REFUSED,
                  /* fields= */ NULL,
                  "%" PRIu64 " connections were refused: there are %" PRIu64
                  " already (limits.connections)",
                  s->n_refused,
                  s->config->broker.connections_max);
        s->n_refused = 0;
        s->refused_usec = usec_add(now, REFUSED_USEC);
}

static void shell_let_in(struct shell *s, struct io_stream *stream) {
        int r;

        r = broker_accept(s->broker, stream);
        if (r == -EMFILE)
                tell_refused(s);
        if (!s->status_is_set && notify_is_on())
                tell_status(s);
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
        notify_ready();
        tell_status(s);

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
        notify_status("Stopping");
        sockets_close(&s->sockets);
        broker_stop(s->broker);
        return 0;
}

/* Reload */

void shell_log_notes(const struct config_notes *notes, int max_level) {
        assert(notes);

        for (size_t i = 0; i < notes->n; i++) {
                const struct config_note *n = notes->notes + i;

                if (n->level > max_level)
                        continue;
                if (n->level <= LOG_WARNING)
                        log_event(n->level,
                                  DRMQ_MESSAGE_CONFIG_PROBLEM,
                                  FIELDS(FIELD_FILE(n->file)),
                                  "%s",
                                  n->text);
                else
                        log_info("%s", n->text);
        }
}

/* Return: how many keys changed; negative: nothing did. */
static int shell_reload(struct shell *s, struct config_notes *notes) {
        _cleanup_(config_settings_freep) struct broker_setting *settings = NULL;
        struct config fresh;
        int r, n_changed;

        r = config_load(s->sources, &fresh, notes);
        if (r < 0)
                return r;

        n_changed = config_reload(s->config, &fresh, notes);
        config_done(&fresh);
        if (n_changed < 0)
                return n_changed;

        log_set_max_level((int) s->config->log_level);
        broker_reconfigure(s->broker, &s->config->broker);
        r = config_settings_new(s->config, &settings);
        if (r < 0) {
                log_event(LOG_WARNING,
                          DRMQ_MESSAGE_CONFIG_PROBLEM,
                          FIELDS(FIELD_ERROR(r)),
                          "Out of memory: what is told of the configuration is the old one");
                return n_changed;
        }
        broker_set_settings(s->broker, settings, config_n_keys);
        config_settings_free(s->settings);
        s->settings = TAKE_PTR(settings);
        return n_changed;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        _cleanup_(config_notes_done) struct config_notes notes = {};
        struct shell *s = userdata;
        int r;

        (void) source;
        (void) si;
        if (s->is_stopping)
                return 0;

        if (s->is_ready)
                notify_reloading();
        r = shell_reload(s, &notes);
        shell_log_notes(&notes, LOG_DEBUG);
        if (r >= 0)
                log_event(LOG_NOTICE,
                          DRMQ_MESSAGE_RELOADED,
                          /* fields= */ NULL,
                          "The configuration was read anew: %d %s another value now",
                          r,
                          r == 1 ? "key has" : "keys have");
        else
                log_event(LOG_ERR,
                          DRMQ_MESSAGE_RELOAD_FAILED,
                          FIELDS(FIELD_ERROR(r)),
                          "The configuration was not read anew, the old one stays: %s",
                          r == -EINVAL ? "the new one is wrong" : strerrordesc_np(-r));
        if (s->is_ready)
                notify_ready();
        return 0;
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
        s->tracer = (struct tracer){
                .emit = on_trace,
                .on_progress = on_progress,
                .userdata = s,
        };
        b.tracer = &s->tracer;

        r = broker_new(io_loop_io(s->loop), &b, &broker_events, s, &s->broker, &what);
        if (r == -ECANCELED) {
                notify_stopping();
                log_info("Stopped while the log was being recovered");
                return EX_OK;
        }
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

        broker_set_settings(s->broker, s->settings, config_n_keys);
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

static int start_failed(int error, const char *what) {
        log_event(LOG_ERR,
                  DRMQ_MESSAGE_START_FAILED,
                  FIELDS(FIELD_ERROR(error)),
                  "%s: %s",
                  what,
                  strerrordesc_np(-error));
        return EX_OSERR;
}

/* Where $WATCHDOG_USEC asks for it; twice as often. */
static int set_watchdog_timer(struct shell *s) {
        struct io *io = io_loop_io(s->loop);
        usec_t usec = notify_watchdog_usec();

        return usec == USEC_INFINITY
                       ? 0
                       : io_timer_set(io, &s->watchdog_timer, usec_add(io_now(io), usec / 2));
}

static void on_watchdog_timer(_unused_ struct io_timer *t, void *userdata) {
        struct shell *s = userdata;

        notify_alive();
        (void) set_watchdog_timer(s); /* it was set before: it has its memory */
}

static int shell_start(struct shell *s) {
        usec_t started_usec = now_monotonic_usec();
        sigset_t signals;
        int r;

        /* First of all: what is said to have been passed, and was not, might be ours later. */
        r = passed_fds_take(&s->passed, &s->n_passed);
        if (r < 0)
                return start_failed(r, "Cannot take the sockets that were passed");

        raise_nofile();
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return start_failed(-errno, "Cannot block signals");

        r = sd_event_new(&s->event);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGTERM, on_signal, s);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGINT, on_signal, s);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGHUP, on_reload, s);
        if (r >= 0)
                r = io_loop_new(s->event, NULL, &s->loop);
        if (r < 0)
                return start_failed(r, "Cannot make an event loop");

        s->status_timer = (struct io_timer){ .on_timer = on_status_timer, .userdata = s };
        s->watchdog_timer = (struct io_timer){ .on_timer = on_watchdog_timer, .userdata = s };
        r = set_watchdog_timer(s);
        if (r < 0)
                return start_failed(r, "Cannot set a timer");

        r = sockets_open(s->loop, s->config, s->passed, s->n_passed, on_accept, s, &s->sockets);
        if (r != EX_OK)
                return r;
        r = config_settings_new(s->config, &s->settings);
        if (r < 0) {
                log_event(LOG_ERR,
                          DRMQ_MESSAGE_START_FAILED,
                          FIELDS(FIELD_ERROR(r)),
                          "Out of memory");
                return EX_OSERR;
        }
        r = shell_open(s, started_usec);
        if (!s->broker)
                return r;

        broker_start(s->broker);
        return EX_OK;
}

int shell_run(struct config *c, const struct config_sources *sources) {
        struct shell s = { .config = c, .sources = sources };
        int r;

        assert(c);

        journal_set_node(c->node_name);
        r = shell_start(&s);
        if (s.broker) {
                r = sd_event_loop(s.event);
                if (r < 0)
                        r = start_failed(r, "The event loop failed");
        }

        shell_done(&s);
        return r;
}
