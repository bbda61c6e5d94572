/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Clients: where the brokers are, the loop behind blocking calls, interruption.
 *
 * I1: drmq_client_interrupt() touches is_interrupted and wake_fd and nothing else, so a signal
 * handler may call it.
 */

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/parse.h"

#define DEFAULT_PORT 9092u
#define SYSTEM_SOCKETS "/run/drmq"
/* What one dispatch handles at most. */
#define DISPATCH_STEPS_MAX 32u
#define DISPATCH_CALLS_MAX 32u

_public_ const char *drmq_version(void) {
        return DRMQ_VERSION;
}

/* ---- Where ---- */

/* Whether somebody may answer there: a daemon that was killed leaves its socket behind. */
static bool socket_is_live(const char *path) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        bool is_live;
        int fd;

        if (strlen(path) >= sizeof(a.sun_path))
                return false;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return true;

        memcpy(a.sun_path, path, strlen(path));
        is_live = connect(fd, (struct sockaddr *) &a, sizeof(a)) >= 0 || errno != ECONNREFUSED;
        fd_close(fd);
        return is_live;
}

/* Appends "unix:<dir>/<name>" for each live socket in @dir. Return: how many in all; -ENOMEM. */
static int add_sockets(const char *dir, char **list, int n) {
        struct dirent **entries;
        int n_entries, r = 0;

        n_entries = scandir(dir, &entries, NULL, alphasort);
        if (n_entries < 0)
                return errno == ENOMEM ? -ENOMEM : n; /* not there, or not for us */

        for (int i = 0; i < n_entries; i++) {
                char *path = mem_asprintf("%s/%s", dir, entries[i]->d_name), *longer;
                struct stat st;

                if (!path)
                        r = -ENOMEM;
                if (r >= 0 && stat(path, &st) >= 0 && S_ISSOCK(st.st_mode) &&
                    socket_is_live(path)) {
                        longer = mem_asprintf("%s%sunix:%s", *list ?: "", *list ? "," : "", path);
                        if (longer) {
                                mem_free(*list);
                                *list = longer;
                                n++;
                        } else
                                r = -ENOMEM;
                }
                mem_free(path);
                free(entries[i]);
        }
        free(entries);
        return r < 0 ? r : n;
}

_public_ int drmq_default_brokers(char **ret) {
        _cleanup_(mem_freep) char *list = NULL, *dir = NULL;
        const char *given = getenv("DRMQ_BROKERS"), *runtime = getenv("XDG_RUNTIME_DIR");
        char *copy;
        int n = 0;

        assert_return(ret, -EINVAL);

        if (!given || !*given) {
                n = add_sockets(SYSTEM_SOCKETS, &list, 0);
                if (n == 0 && runtime && *runtime) {
                        dir = mem_asprintf("%s/drmq", runtime);
                        n = dir ? add_sockets(dir, &list, 0) : -ENOMEM;
                }
                if (n < 0)
                        return n;
        }

        /* The caller frees it with free(). */
        copy = strdup(given && *given ? given : list ?: "127.0.0.1:9092");
        if (!copy)
                return -ENOMEM;

        *ret = copy;
        return n > 1 ? -ENOTUNIQ : 0;
}

/* ---- Words ---- */

void client_say(drmq_client *c, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(c->text, sizeof(c->text), format, ap);
        va_end(ap);
}

_public_ const char *drmq_client_error(const drmq_client *c) {
        return c ? c->text : "";
}

void *client_keep(drmq_client *c, size_t n_bytes) {
        struct kept *k;
        size_t n;

        if (__builtin_add_overflow(n_bytes, sizeof(struct kept), &n))
                return NULL;
        k = mem_alloc0(n);
        if (!k)
                return NULL;

        list_append(&c->kept, &k->link);
        return k->data;
}

char *client_keep_string(drmq_client *c, const char *s) {
        size_t n = strlen(s) + 1;
        char *p = client_keep(c, n);

        if (p)
                memcpy(p, s, n);
        return p;
}

void client_forget(drmq_client *c) {
        for (struct kept *k; (k = list_pop(&c->kept, struct kept, link));)
                mem_free(k);
}

/* ---- Life ---- */

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        uint64_t n;

        (void) source;
        (void) revents;
        (void) userdata;
        (void) !read(fd, &n, sizeof(n)); /* is_interrupted says the rest */
        return 0;
}

_public_ int drmq_client_new(const char *brokers, drmq_client **ret) {
        struct address *addresses = NULL;
        char *standard = NULL;
        size_t n_addresses = 0;
        drmq_client *c;
        int r;

        assert_return(ret, -EINVAL);

        if (!brokers) {
                r = drmq_default_brokers(&standard);
                if (r < 0) {
                        free(standard);
                        return r;
                }
        }
        r = parse_address_list(brokers ?: standard, DEFAULT_PORT, &addresses, &n_addresses);
        free(standard);
        if (r < 0)
                return r == -ENOMEM ? r : -EINVAL;

        c = new0(drmq_client, 1);
        if (!c) {
                address_array_free(addresses, n_addresses);
                return -ENOMEM;
        }
        c->n_refs = 1;
        list_init(&c->kept);
        list_init(&c->producers);
        list_init(&c->consumers);
        c->timeout_usec = CLIENT_TIMEOUT_USEC;
        c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = c->wake_fd < 0 ? -errno : sd_event_new(&c->event);
        if (r >= 0)
                r = sd_event_add_io(c->event, &c->wake, c->wake_fd, EPOLLIN, on_wake, c);
        if (r >= 0)
                r = io_loop_new(c->event, /* config= */ NULL, &c->loop);
        if (r >= 0) {
                c->io = io_loop_io(c->loop);
                r = session_new(c->io, addresses, n_addresses, &c->session);
        }
        address_array_free(addresses, n_addresses);
        if (r < 0) {
                drmq_client_free(c);
                return r;
        }

        *ret = c;
        return 0;
}

drmq_client *client_ref(drmq_client *c) {
        c->n_refs++;
        return c;
}

void client_unref(drmq_client *c) {
        if (--c->n_refs > 0)
                return;

        drmq_client_detach_event(c);
        client_forget(c);
        session_free(c->session);
        io_loop_free(c->loop);
        sd_event_source_disable_unref(c->wake);
        sd_event_unref(c->event);
        fd_close(c->wake_fd);
        mem_free(c);
}

_public_ drmq_client *drmq_client_free(drmq_client *c) {
        if (c)
                client_unref(c);
        return NULL;
}

_public_ int drmq_client_set_timeout(drmq_client *c, uint64_t timeout_usec) {
        assert_return(c, -EINVAL);
        assert_return(timeout_usec > 0, -EINVAL);

        c->timeout_usec = timeout_usec;
        return 0;
}

_public_ void drmq_client_interrupt(drmq_client *c) {
        uint64_t one = 1;
        int saved = errno;

        if (!c)
                return;

        atomic_store(&c->is_interrupted, true);
        (void) !write(c->wake_fd, &one, sizeof(one)); /* full: it is awake already (I1) */
        errno = saved;
}

_public_ void drmq_client_resume(drmq_client *c) {
        if (c)
                atomic_store(&c->is_interrupted, false);
}

/* ---- Running ---- */

usec_t client_deadline(const drmq_client *c) {
        return usec_add(now_monotonic_usec(), c->timeout_usec);
}

int client_check_idle(drmq_client *c) {
        if (!c->is_running)
                return 0;

        client_say(c, "a delivery or partition callback may call nothing of its client");
        return -EDEADLK;
}

/* Return: 1 something was handled; 0 nothing was there; negative errno, said. */
static int client_step(drmq_client *c, usec_t wait_usec) {
        int r;

        r = client_check_idle(c);
        if (r < 0)
                return r;

        c->is_running = true;
        r = sd_event_run(c->event, wait_usec);
        c->is_running = false;
        if (r == -ECHILD)
                client_say(
                        c,
                        "the client was made before a fork(2), and is of use to the parent only");
        else if (r < 0)
                client_say(c, "the event loop failed: %s", strerrordesc_np(-r) ?: "unknown error");
        return r;
}

static int client_run_once(drmq_client *c, usec_t wait_usec) {
        if (atomic_load(&c->is_interrupted)) {
                client_say(c, "interrupted");
                return -ECANCELED;
        }
        return client_step(c, wait_usec);
}

int client_run(drmq_client *c, usec_t deadline_usec) {
        usec_t now = 0;
        int r;

        if (deadline_usec != USEC_INFINITY) {
                now = now_monotonic_usec();
                if (now >= deadline_usec)
                        return -ETIMEDOUT;
        }
        r = client_run_once(c,
                            deadline_usec == USEC_INFINITY ? USEC_INFINITY : deadline_usec - now);
        return r < 0 ? r : 0;
}

int client_poll(drmq_client *c) {
        int r;

        do
                r = client_run_once(c, 0);
        while (r > 0);
        return r;
}

int client_timed_out(drmq_client *c, const char *what) {
        if (!session_is_up(c->session))
                return session_describe(c->session, c->text, sizeof(c->text));

        client_say(c, "%s", what);
        return -ETIMEDOUT;
}

/* ---- On the caller's loop ---- */

bool client_is_unreachable(const drmq_client *c) {
        return !session_is_up(c->session) && c->up_usec > 0 &&
               now_monotonic_usec() >= usec_add(c->up_usec, c->timeout_usec);
}

_public_ int drmq_client_set_nonblocking(drmq_client *c, bool on) {
        assert_return(c, -EINVAL);

        c->is_nonblocking = on;
        return 0;
}

_public_ int drmq_client_fd(drmq_client *c) {
        assert_return(c, -EINVAL);

        return sd_event_get_fd(c->event);
}

_public_ uint64_t drmq_client_wait_usec(drmq_client *c) {
        usec_t deadline;

        assert_return(c, UINT64_MAX);

        if (producers_have_call(c) || consumers_have_call(c))
                return 0;
        /* Sockets and completions show in the descriptor; the rest is here. */
        deadline = io_loop_deadline(c->loop);
        return deadline == USEC_INFINITY ? UINT64_MAX : usec_sub(deadline, now_monotonic_usec());
}

_public_ int drmq_client_dispatch(drmq_client *c) {
        int r = 1, did = 0;

        assert_return(c, -EINVAL);

        client_ref(c); /* a callback may free it */
        if (session_is_up(c->session))
                c->up_usec = now_monotonic_usec();
        /* Others have their turn too: what is left shows in the descriptor, or as a deadline. */
        for (unsigned i = 0; i < DISPATCH_STEPS_MAX && r > 0; i++) {
                r = client_step(c, 0);
                did = did || r > 0;
        }
        for (unsigned i = 0; i < DISPATCH_CALLS_MAX && r >= 0; i++) {
                if (!producers_call(c) && !consumers_call(c))
                        break;
                did = 1;
        }
        client_unref(c);
        return r < 0 ? r : did;
}

static int on_outer_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        (void) source;
        (void) fd;
        (void) revents;
        return drmq_client_dispatch(userdata);
}

static int on_outer_time(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) source;
        (void) usec;
        return drmq_client_dispatch(userdata);
}

/* Before the caller's loop waits: how long it may. */
static int on_outer_prepare(sd_event_source *source, void *userdata) {
        drmq_client *c = userdata;
        uint64_t wait_usec = drmq_client_wait_usec(c);
        int r;

        (void) source;
        if (wait_usec == UINT64_MAX)
                return sd_event_source_set_enabled(c->outer_time, SD_EVENT_OFF);
        r = sd_event_source_set_time(c->outer_time, usec_add(now_monotonic_usec(), wait_usec));
        return r < 0 ? r : sd_event_source_set_enabled(c->outer_time, SD_EVENT_ONESHOT);
}

_public_ int drmq_client_attach_event(drmq_client *c, struct sd_event *event, int64_t priority) {
        int r;

        assert_return(c, -EINVAL);
        assert_return(event && event != c->event, -EINVAL);

        if (c->outer) {
                client_say(c, "the client is attached to an event loop already");
                return -EBUSY;
        }

        c->outer = sd_event_ref(event);
        r = sd_event_add_io(
                event, &c->outer_io, sd_event_get_fd(c->event), EPOLLIN, on_outer_io, c);
        if (r >= 0)
                r = sd_event_add_time(event,
                                      &c->outer_time,
                                      CLOCK_MONOTONIC,
                                      0,
                                      /* accuracy= */ 1,
                                      on_outer_time,
                                      c);
        if (r >= 0)
                r = sd_event_source_set_prepare(c->outer_io, on_outer_prepare);
        if (r >= 0)
                r = sd_event_source_set_priority(c->outer_io, priority);
        if (r >= 0)
                r = sd_event_source_set_priority(c->outer_time, priority);
        if (r < 0) {
                client_say(c, "cannot attach to the loop: %s", strerrordesc_np(-r) ?: "?");
                drmq_client_detach_event(c);
                return r;
        }
        c->is_nonblocking = true;
        return 0;
}

_public_ void drmq_client_detach_event(drmq_client *c) {
        if (!c || !c->outer)
                return;

        c->outer_io = sd_event_source_disable_unref(c->outer_io);
        c->outer_time = sd_event_source_disable_unref(c->outer_time);
        c->outer = sd_event_unref(c->outer);
        c->is_nonblocking = false;
}

struct client_call {
        struct call call;
        drmq_client *client;
        int (*on_answer)(int r, const ProtobufCMessage *answer, void *userdata);
        void *userdata;
        bool has_ended;
        int result;
};

static void on_call_done(
        struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        struct client_call *cc = userdata;

        if (r < 0)
                client_say(cc->client, "%s", text);
        cc->client->answer_body = c->body;
        cc->result = answer && cc->on_answer ? cc->on_answer(r, answer, cc->userdata) : r;
        cc->has_ended = true;
}

int client_call(drmq_client *c,
                enum frame_type type,
                const void *message,
                const ProtobufCMessageDescriptor *answer_descriptor,
                int (*on_answer)(int r, const ProtobufCMessage *answer, void *userdata),
                void *userdata) {
        struct client_call cc = { .client = c, .on_answer = on_answer, .userdata = userdata };
        int r;

        call_init(&cc.call, on_call_done, &cc);
        r = call_start(&cc.call, c->session, type, message, answer_descriptor, client_deadline(c));
        if (r < 0) {
                client_say(c,
                           r == -ENOMEM ? "out of memory" : "the request is larger than the limit");
                return r;
        }

        while (!cc.has_ended) {
                r = client_run(c, USEC_INFINITY); /* the call has its deadline */
                if (r < 0) {
                        call_done(&cc.call);
                        return r;
                }
        }
        return cc.result;
}
