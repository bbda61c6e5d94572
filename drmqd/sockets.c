/* SPDX-License-Identifier: Apache-2.0 */
/* Which socket serves which address, and who holds it besides us. */
#include "drmqd/sockets.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/format.h"
#include "base/logging.h"
#include "base/messages.h"
#include "loop/notify.h"

#define SOCKET_DIR "/run/drmq"
/* What sockets are stored by: this, and their address as it is configured. */
#define STORED_PREFIX "drmqd-tcp-"
/* How long the manager may take to let go of sockets. */
#define MANAGER_USEC (5 * USEC_PER_SEC)

/* What was passed, until its place is known. */
struct passed {
        struct listener *listeners[PASSED_MAX];
        char *names[PASSED_MAX];
        size_t n;
};

struct opening {
        struct io_loop *loop;
        struct config *config;
        listener_accept_t on_accept;
        void *userdata;
        struct sockets *out;
        struct listener *configured[LISTEN_MAX]; /* NULL: to be made */
        bool is_ours[LISTEN_MAX];                /* not a socket unit's */
        struct passed passed;
};

static bool name_is_stored(const char *name) {
        return strncmp(name, STORED_PREFIX, strlen(STORED_PREFIX)) == 0;
}

/* By what a socket at that address is stored, new string; NULL: no memory. */
static char *stored_name(const struct address *a) {
        char *name = mem_asprintf(STORED_PREFIX "%s-%u", a->host, a->port);

        for (char *p = name; p && *p; p++)
                if (*p == ':')
                        *p = '_';
        return name;
}

static void add(struct sockets *s, struct listener *l, const char *how) {
        assert(s->n < SOCKETS_MAX);

        log_info("Listening on %s%s", listener_name(l), how);
        s->listeners[s->n++] = l;
}

static void passed_done(struct passed *p) {
        for (size_t i = 0; i < p->n; i++) {
                listener_free(p->listeners[i]);
                mem_free(p->names[i]);
        }
        p->n = 0;
}

/* Passed sockets */

static void refuse_passed(const struct passed_fd *fd, int error) {
        log_event(LOG_WARNING,
                  DRMQ_MESSAGE_SOCKET_REFUSED,
                  FIELDS(FIELD_ERROR(error)),
                  "Descriptor %d (%s) was passed and is closed: %s",
                  fd->fd,
                  fd->name,
                  error == -ENOTSOCK       ? "it is no socket"
                  : error == -EPROTOTYPE   ? "it is not a stream socket that listens"
                  : error == -EAFNOSUPPORT ? "it is neither TCP nor a Unix socket"
                  : error == -E2BIG        ? "there are too many"
                                           : strerrordesc_np(-error));
        if (name_is_stored(fd->name))
                notify_unstore(fd->name);
}

static void take_passed(struct opening *o, struct passed_fd *fds, size_t n) {
        struct passed *p = &o->passed;

        for (size_t i = 0; i < n; i++) {
                int r = p->n >= PASSED_MAX ? -E2BIG
                                           : listener_adopt(o->loop,
                                                            fds[i].fd,
                                                            o->on_accept,
                                                            o->userdata,
                                                            p->listeners + p->n);
                if (r < 0) {
                        refuse_passed(fds + i, r);
                        continue;
                }
                fds[i].fd = -EBADF;
                p->names[p->n++] = TAKE_PTR(fds[i].name);
        }
}

static struct listener *passed_remove(struct passed *p, size_t i) {
        struct listener *l = p->listeners[i];

        mem_free(p->names[i]);
        p->n--;
        memmove(p->listeners + i, p->listeners + i + 1, (p->n - i) * sizeof(p->listeners[0]));
        memmove(p->names + i, p->names + i + 1, (p->n - i) * sizeof(p->names[0]));
        return l;
}

/* One that was stored is for the address that it was stored by. */
static int match_one(struct opening *o, size_t k) {
        const struct address *a = o->config->listen + k;
        _cleanup_(mem_freep) char *name = NULL;
        struct passed *p = &o->passed;
        int r;

        if (!a->path) {
                name = stored_name(a);
                if (!name)
                        return -ENOMEM;
        }

        for (size_t i = 0; i < p->n; i++) {
                const bool is_stored = name_is_stored(p->names[i]);

                if (is_stored ? !name || !streq(p->names[i], name) : !a->path && a->port == 0)
                        continue;
                r = listener_is_at(p->listeners[i], a);
                if (r < 0)
                        return r;
                if (r > 0) {
                        o->is_ours[k] = is_stored;
                        o->configured[k] = passed_remove(p, i);
                        return 1;
                }
        }

        return 0;
}

/* What was stored and is configured no longer. The manager has to let go before another address of
 * the same port can be listened on. */
static void drop_stale(struct opening *o) {
        struct passed *p = &o->passed;
        bool is_any = false;
        size_t i = 0;

        while (i < p->n) {
                if (!name_is_stored(p->names[i])) {
                        i++;
                        continue;
                }
                notify_unstore(p->names[i]);
                listener_free(passed_remove(p, i));
                is_any = true;
        }
        if (is_any)
                (void) notify_wait(MANAGER_USEC); /* if it does not: the address is in use */
}

/* Sockets of our own */

static int listen_failed(const struct address *a, int error) {
        _cleanup_(mem_freep) char *name = format_address(a);

        log_event(LOG_ERR,
                  DRMQ_MESSAGE_START_FAILED,
                  FIELDS(FIELD_PEER(name), FIELD_ERROR(error)),
                  "Cannot listen on %s: %s%s",
                  name ? name : "an address",
                  strerrordesc_np(-error),
                  error == -EADDRINUSE ? "; another process does (--port takes another one)" : "");
        return error == -EACCES || error == -EPERM ? EX_NOPERM
               : error == -ENOMEM                  ? EX_OSERR
                                                   : EX_UNAVAILABLE;
}

/* Keeps it with the manager, if there is one and the address can be a name. */
static void store(const struct listener *l, const struct address *a) {
        _cleanup_(mem_freep) char *name = stored_name(a);

        if (name && notify_is_on() && notify_name_is_valid(name))
                notify_store(listener_fd(l), name);
}

static int open_configured(struct opening *o) {
        const struct config *c = o->config;
        int r;

        for (size_t k = 0; k < c->n_listen; k++) {
                const struct address *a = c->listen + k;
                const char *how = o->is_ours[k] ? " as before" : ", as it was passed";

                if (!o->configured[k]) {
                        r = listener_new(o->loop, a, o->on_accept, o->userdata, &o->configured[k]);
                        if (r < 0)
                                return listen_failed(a, r);
                        o->is_ours[k] = true;
                        how = "";
                }
                if (o->is_ours[k] && !a->path)
                        store(o->configured[k], a);
                add(o->out, TAKE_PTR(o->configured[k]), how);
        }

        return EX_OK;
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

/* The socket named after the node, unless there is a Unix socket already. Nobody asked for it, so
 * doing without is no failure. */
static void open_by_name(struct opening *o) {
        _cleanup_(mem_freep) char *dir = NULL;
        struct address a = {};
        struct listener *l;
        int r;

        for (size_t i = 0; i < o->out->n; i++)
                if (listener_port(o->out->listeners[i]) == 0)
                        return;

        dir = socket_dir();
        if (!dir)
                return;

        a.path = mem_asprintf("%s/%s.sock", dir, o->config->node_name);
        if (!a.path)
                return;
        r = listener_new(o->loop, &a, o->on_accept, o->userdata, &l);
        if (r >= 0)
                add(o->out, l, "");
        else if (r == -EADDRINUSE)
                log_event(
                        LOG_WARNING,
                        DRMQ_MESSAGE_LISTEN_SKIPPED,
                        FIELDS(FIELD_PEER(a.path), FIELD_ERROR(r)),
                        "Another daemon listens on %s: this one has no socket (--node gives it a name of its own)",
                        a.path);
        else
                log_event(LOG_WARNING,
                          DRMQ_MESSAGE_LISTEN_SKIPPED,
                          FIELDS(FIELD_PEER(a.path), FIELD_ERROR(r)),
                          "Cannot listen on %s, going on without: %s",
                          a.path,
                          strerrordesc_np(-r));
        address_done(&a);
}

/* All */

static int out_of_memory(void) {
        log_event(LOG_ERR,
                  DRMQ_MESSAGE_START_FAILED,
                  FIELDS(FIELD_ERROR(ENOMEM)),
                  "Out of memory for the sockets");
        return EX_OSERR;
}

/* TCP by default, unless the manager passed some. */
static int default_address(struct opening *o) {
        struct config *c = o->config;

        if (c->n_listen > 0)
                return 0;
        for (size_t i = 0; i < o->passed.n; i++)
                if (!name_is_stored(o->passed.names[i]) &&
                    listener_port(o->passed.listeners[i]) != 0)
                        return 0;

        c->listen[0] = (struct address){ .host = mem_strdup("127.0.0.1"), .port = DEFAULT_PORT };
        if (!c->listen[0].host)
                return -ENOMEM;
        c->n_listen = 1;
        return 0;
}

/* The first TCP address, else the last there is. */
static int set_advertise(struct config *c, const struct sockets *s) {
        for (size_t i = 0; !c->advertise && i < s->n; i++)
                if (listener_port(s->listeners[i]) != 0 || i + 1 == s->n) {
                        c->advertise = mem_strdup(listener_name(s->listeners[i]));
                        if (!c->advertise)
                                return -ENOMEM;
                }

        return 0;
}

static int open_all(struct opening *o) {
        int r;

        r = default_address(o);
        for (size_t k = 0; r >= 0 && k < o->config->n_listen; k++)
                r = match_one(o, k);
        if (r < 0)
                return out_of_memory();
        drop_stale(o);

        r = open_configured(o);
        if (r != EX_OK)
                return r;
        while (o->passed.n > 0)
                add(o->out, passed_remove(&o->passed, 0), ", as it was passed");
        open_by_name(o);

        if (set_advertise(o->config, o->out) < 0)
                return out_of_memory();
        return EX_OK;
}

int sockets_open(struct io_loop *loop,
                 struct config *c,
                 struct passed_fd *passed,
                 size_t n_passed,
                 listener_accept_t on_accept,
                 void *userdata,
                 struct sockets *ret) {
        struct opening o = {
                .loop = loop,
                .config = c,
                .on_accept = on_accept,
                .userdata = userdata,
                .out = ret,
        };
        int r;

        assert(loop);
        assert(c);
        assert(passed || n_passed == 0);
        assert(ret);

        take_passed(&o, passed, n_passed);
        r = open_all(&o);
        for (size_t i = 0; i < LISTEN_MAX; i++)
                listener_free(o.configured[i]);
        passed_done(&o.passed);
        return r;
}

void sockets_close(struct sockets *s) {
        assert(s);

        for (size_t i = 0; i < s->n; i++)
                listener_free(s->listeners[i]);
        s->n = 0;
}
