/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams over sockets, from the look-up of a name to the close.
 *
 * They have an epoll(7) of their own, a single source of the event loop: sd-event asks for all that
 * is ready before each single handler, which takes the square of the time where thousands of
 * sockets are ready at once (all clients went away, say). Here a few are taken at a time; epoll
 * gives each its turn.
 *
 *  I1  Who wants no events is registered with EPOLLONESHOT: epoll reports EPOLLHUP and EPOLLERR
 *      even to those who asked for nothing, so they come once, and go unheard.
 *  I2  After a call of the handler the stream may be gone: s->is_gone tells the one who called it.
 *  I3  What has been taken from epoll and not been handled yet stands in loop->ready, and leaves it
 *      when its socket is closed.
 *  I4  A lookup belongs to its thread until its job is done; a stream that is closed before lets go
 *      of it.
 */
#include "loop/stream.h"

#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/parse.h"
#include "loop/loop.h"

/* A name may have more; the first ones are tried. */
#define ADDRESSES_MAX 16u
/* A peer that has gone without a word, or cannot be reached, is asked after so much silence, and
 * given up after as much again (tcp(7)). */
#define KEEPALIVE_SEC 60
#define KEEPALIVE_PROBES 4

enum stream_state {
        STREAM_LOOKING_UP,
        STREAM_CONNECTING,
        STREAM_OPEN,
        STREAM_BROKEN, /* the connection never came to stand */
};

union socket_address {
        struct sockaddr sa;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
};

struct place {
        union socket_address address;
        socklen_t n_bytes;
};

struct stream;

struct lookup {
        struct io_job job;
        struct list link;      /* loop->lookups */
        struct stream *stream; /* NULL: closed meanwhile (I4) */
        char *host;
        char port[6];
        struct place places[ADDRESSES_MAX];
        size_t n_places;
};

struct stream {
        struct io_stream stream;
        struct io_loop *loop;
        struct list link;        /* loop->streams */
        struct list broken_link; /* loop->broken */
        enum stream_state state;
        int error; /* what reads return for ever */
        int fd;
        unsigned wanted;     /* enum io_stream_events */
        uint32_t registered; /* with epoll; 0: nothing (I1), or no socket */
        uint64_t round;
        bool in_handler;
        bool *is_gone; /* I2 */

        /* Until it stands. */
        struct lookup *lookup;
        struct place *places;
        size_t n_places, next_place;
        struct io_timer next_timer;
};

static struct stream *stream_of(struct io_stream *s) {
        return CONTAINER_OF(s, struct stream, stream);
}

static void try_next_place(struct stream *s, int error);

/* The handler. Return: false when the stream is gone (I2). */
static bool tell(struct stream *s, unsigned events) {
        bool is_gone = false;

        s->is_gone = &is_gone;
        s->in_handler = true;
        s->stream.handler(&s->stream, events, s->stream.userdata);
        if (is_gone)
                return false;

        s->in_handler = false;
        s->is_gone = NULL;
        return true;
}

static void set_epoll(struct stream *s, int operation, uint32_t events) {
        struct epoll_event e = {
                .events = events == 0 ? EPOLLONESHOT : events, /* I1 */
                .data.ptr = s,
        };
        int r;

        r = epoll_ctl(s->loop->epoll_fd, operation, s->fd, &e);
        assert(r >= 0); /* it is registered: nothing is allocated */
}

static void register_events(struct stream *s) {
        uint32_t events = 0;

        if (s->state == STREAM_CONNECTING)
                events = EPOLLOUT;
        else {
                if (s->wanted & IO_STREAM_READABLE)
                        events |= EPOLLIN;
                if (s->wanted & IO_STREAM_WRITABLE)
                        events |= EPOLLOUT;
        }

        if (s->fd < 0 || events == s->registered)
                return;

        set_epoll(s, EPOLL_CTL_MOD, events);
        s->registered = events;
}

static void drop_socket(struct stream *s) {
        struct io_loop *l = s->loop;

        if (s->fd < 0)
                return;

        for (size_t i = l->n_handled; i < l->n_ready; i++)
                if (l->ready[i].data.ptr == s)
                        l->ready[i].data.ptr = NULL; /* I3 */
        set_epoll(s, EPOLL_CTL_DEL, 0);
        s->registered = 0;
        s->fd = fd_close(s->fd);
}

static void free_lookup(struct lookup *lookup) {
        list_remove(&lookup->link);
        mem_free(lookup->host);
        mem_free(lookup);
}

static void break_stream(struct stream *s, int error) {
        assert(error < 0);

        drop_socket(s);
        io_timer_cancel(s->stream.io, &s->next_timer);
        s->state = STREAM_BROKEN;
        s->error = error;
        list_append(&s->loop->broken, &s->broken_link);
        if (s->wanted != 0)
                loop_arm_late(s->loop);
}

/* A connect(2) to a free port of this machine may end up with itself. */
static bool is_connected_to_itself(int fd) {
        union socket_address here = {}, there = {};
        socklen_t n_here = sizeof(here), n_there = sizeof(there);

        return getsockname(fd, &here.sa, &n_here) >= 0 &&
               getpeername(fd, &there.sa, &n_there) >= 0 && here.sa.sa_family != AF_UNIX &&
               n_here == n_there && memcmp(&here, &there, n_here) == 0;
}

static void note_peer(struct stream *s) {
        union socket_address here = {};
        struct ucred peer;
        socklen_t n = sizeof(here);

        if (getsockname(s->fd, &here.sa, &n) < 0)
                return;

        if (here.sa.sa_family != AF_UNIX) {
                (void) setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
                (void) setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &(int){ 1 }, sizeof(int));
                (void) setsockopt(
                        s->fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){ KEEPALIVE_SEC }, sizeof(int));
                (void) setsockopt(s->fd,
                                  IPPROTO_TCP,
                                  TCP_KEEPINTVL,
                                  &(int){ KEEPALIVE_SEC / KEEPALIVE_PROBES },
                                  sizeof(int));
                (void) setsockopt(
                        s->fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){ KEEPALIVE_PROBES }, sizeof(int));
                return;
        }

        n = sizeof(peer);
        if (getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
                return;
        s->stream.is_local = true;
        s->stream.uid = peer.uid;
}

static void on_connect_event(struct stream *s) {
        socklen_t n = sizeof(int);
        int error = 0;

        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
                error = errno;
        if (error == 0 && is_connected_to_itself(s->fd))
                error = ECONNREFUSED;
        if (error > 0) {
                try_next_place(s, -error);
                return;
        }

        io_timer_cancel(s->stream.io, &s->next_timer);
        s->places = mem_free(s->places);
        s->state = STREAM_OPEN;
        note_peer(s);
        register_events(s);
}

static void on_stream_event(struct stream *s, uint32_t revents) {
        unsigned events = 0;

        if (s->state == STREAM_CONNECTING) {
                on_connect_event(s);
                return;
        }

        if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
                events |= IO_STREAM_READABLE;
        if (revents & (EPOLLOUT | EPOLLHUP | EPOLLERR))
                events |= IO_STREAM_WRITABLE;
        events &= s->wanted;

        if (events != 0 && tell(s, events))
                register_events(s);
}

static int on_sockets(_unused_ sd_event_source *source,
                      _unused_ int fd,
                      _unused_ uint32_t revents,
                      void *userdata) {
        struct io_loop *l = userdata;
        int n;

        if (l->n_handled == l->n_ready) {
                n = epoll_wait(l->epoll_fd, l->ready, ELEMENTSOF(l->ready), /* timeout= */ 0);
                l->n_handled = 0;
                l->n_ready = n > 0 ? (size_t) n : 0;
        }

        while (l->n_handled < l->n_ready) {
                const struct epoll_event *e = &l->ready[l->n_handled++];
                struct stream *s = e->data.ptr;

                if (!s)
                        continue; /* I3 */
                loop_note_event(l, &s->round);
                on_stream_event(s, e->events);
                if (l->is_late_promoted)
                        break; /* it comes first; the others after it */
        }
        return 0;
}

int stream_loop_init(struct io_loop *l) {
        l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (l->epoll_fd < 0)
                return -errno;

        return sd_event_add_io(l->event, &l->sockets, l->epoll_fd, EPOLLIN, on_sockets, l);
}

void stream_loop_done(struct io_loop *l) {
        l->sockets = sd_event_source_disable_unref(l->sockets);
        l->epoll_fd = fd_close(l->epoll_fd);
        LIST_FOREACH(&l->lookups, lookup, struct lookup, link)
                free_lookup(lookup);
}

/* Takes @fd on success. */
static int watch_socket(struct stream *s, int fd, uint32_t events) {
        struct epoll_event e = {
                .events = events == 0 ? EPOLLONESHOT : events, /* I1 */
                .data.ptr = s,
        };

        if (epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
                return -errno;

        s->fd = fd;
        s->registered = events;
        return 0;
}

/* Return: 0 under way; negative: not to this one. */
static int begin_connect(struct stream *s, const struct place *p) {
        _cleanup_(fd_closep) int fd = -EBADF;
        int r;

        fd = socket(p->address.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;

        /* unix(7): EAGAIN says that its queue is full; to those who read a stream it would mean
         * "not now". */
        if (connect(fd, &p->address.sa, p->n_bytes) < 0 && errno != EINPROGRESS && errno != EINTR)
                return errno == EAGAIN ? -ECONNREFUSED : -errno;

        r = watch_socket(s, fd, EPOLLOUT);
        if (r < 0)
                return r;

        TAKE_FD(fd);
        return 0;
}

static void on_next_timer(_unused_ struct io_timer *t, void *userdata) {
        try_next_place(userdata, -ETIMEDOUT);
}

/* @error: what became of the one before, or 0. */
static void try_next_place(struct stream *s, int error) {
        drop_socket(s);
        io_timer_cancel(s->stream.io, &s->next_timer);

        for (s->state = STREAM_CONNECTING; s->next_place < s->n_places;) {
                int r;

                r = begin_connect(s, &s->places[s->next_place++]);
                if (r < 0) {
                        error = r;
                        continue;
                }

                /* Without memory for the timer the kernel's own, longer time counts. */
                if (s->next_place < s->n_places)
                        (void) io_timer_set(
                                s->stream.io,
                                &s->next_timer,
                                usec_add(io_now(s->stream.io), STREAM_NEXT_ADDRESS_USEC));
                return;
        }

        break_stream(s, error);
}

/* Return: 0; what getaddrinfo(3) says, as a negative errno. */
static int look_up(struct lookup *lookup, int flags) {
        const struct addrinfo hints = {
                .ai_family = AF_UNSPEC,
                .ai_socktype = SOCK_STREAM,
                .ai_flags = flags | AI_NUMERICSERV,
        };
        struct addrinfo *all;
        int r;

        r = getaddrinfo(lookup->host, lookup->port, &hints, &all);
        if (r == EAI_MEMORY)
                return -ENOMEM;
        if (r != 0)
                return -ENXIO;

        for (const struct addrinfo *a = all; a && lookup->n_places < ADDRESSES_MAX;
             a = a->ai_next) {
                struct place *p = &lookup->places[lookup->n_places];

                if (a->ai_addrlen > sizeof(p->address))
                        continue;
                memcpy(&p->address, a->ai_addr, a->ai_addrlen);
                p->n_bytes = a->ai_addrlen;
                lookup->n_places++;
        }
        freeaddrinfo(all);

        return lookup->n_places > 0 ? 0 : -ENXIO;
}

static int take_places(struct stream *s, const struct lookup *lookup) {
        s->places = mem_dup(lookup->places, lookup->n_places * sizeof(struct place));
        if (!s->places)
                return -ENOMEM;

        s->n_places = lookup->n_places;
        return 0;
}

static int run_lookup(struct io_job *job) {
        return look_up(CONTAINER_OF(job, struct lookup, job), /* flags= */ 0);
}

static void on_looked_up(struct io_job *job, int r) {
        struct lookup *lookup = CONTAINER_OF(job, struct lookup, job);
        struct stream *s = lookup->stream;

        if (s) {
                s->lookup = NULL;
                if (r >= 0)
                        r = take_places(s, lookup);
                try_next_place(s, r);
        }

        free_lookup(lookup);
}

static int begin_lookup(struct stream *s, const struct address *a) {
        struct io_loop *l = s->loop;
        struct lookup *lookup;
        int r;

        lookup = new0(struct lookup, 1);
        if (!lookup)
                return -ENOMEM;

        list_init(&lookup->link);
        lookup->stream = s;
        lookup->job.run = run_lookup;
        lookup->job.done = on_looked_up;
        snprintf(lookup->port, sizeof(lookup->port), "%u", a->port);
        lookup->host = mem_strdup(a->host);
        if (!lookup->host) {
                free_lookup(lookup);
                return -ENOMEM;
        }

        /* What is an address already needs no thread. */
        if (look_up(lookup, AI_NUMERICHOST) >= 0) {
                r = take_places(s, lookup);
                free_lookup(lookup);
                if (r >= 0)
                        try_next_place(s, r);
                return r;
        }

        lookup->job.io = &l->base.io;
        lookup->job.lane = IO_LANE_BACKGROUND;
        r = worker_pool_submit(l->resolvers, &lookup->job);
        if (r < 0) {
                free_lookup(lookup);
                return r;
        }

        list_append(&l->lookups, &lookup->link);
        s->lookup = lookup;
        return 0;
}

static int begin_local(struct stream *s, const char *path) {
        size_t n = strlen(path);

        if (n >= sizeof(((struct sockaddr_un *) NULL)->sun_path)) {
                try_next_place(s, -ENAMETOOLONG);
                return 0;
        }

        s->places = new0(struct place, 1);
        if (!s->places)
                return -ENOMEM;

        s->places[0].address.un.sun_family = AF_UNIX;
        memcpy(s->places[0].address.un.sun_path, path, n + 1);
        s->places[0].n_bytes = sizeof(struct sockaddr_un);
        s->n_places = 1;
        try_next_place(s, 0);
        return 0;
}

static struct stream *new_stream(struct io_loop *l, io_stream_handler_t handler, void *userdata) {
        struct stream *s;

        s = new0(struct stream, 1);
        if (!s)
                return NULL;

        s->stream.io = &l->base.io;
        s->stream.handler = handler;
        s->stream.userdata = userdata;
        s->loop = l;
        s->fd = -EBADF;
        s->next_timer.on_timer = on_next_timer;
        s->next_timer.userdata = s;
        list_init(&s->broken_link);
        list_append(&l->streams, &s->link);
        return s;
}

int stream_connect(struct io *io,
                   const struct address *a,
                   io_stream_handler_t handler,
                   void *userdata,
                   struct io_stream **ret) {
        struct stream *s;
        int r;

        assert(a->path || a->host);

        s = new_stream(loop_of(io), handler, userdata);
        if (!s)
                return -ENOMEM;

        r = a->path ? begin_local(s, a->path) : begin_lookup(s, a);
        if (r < 0) {
                stream_close(&s->stream);
                return r;
        }

        *ret = &s->stream;
        return 0;
}

int stream_adopt(struct io_loop *l,
                 int fd,
                 io_stream_handler_t handler,
                 void *userdata,
                 struct io_stream **ret) {
        struct stream *s;
        int flags, r;

        assert(l);
        assert(ret);

        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;

        s = new_stream(l, handler, userdata);
        if (!s)
                return -ENOMEM;

        s->state = STREAM_OPEN;
        r = watch_socket(s, fd, /* events= */ 0);
        if (r < 0) {
                stream_close(&s->stream);
                return r;
        }
        note_peer(s);

        *ret = &s->stream;
        return 0;
}

ssize_t stream_read(struct io_stream *stream, void *p, size_t n) {
        struct stream *s = stream_of(stream);

        assert(n > 0);

        if (s->error < 0)
                return s->error;
        if (s->state != STREAM_OPEN)
                return -EAGAIN;

        for (;;) {
                ssize_t k = recv(s->fd, p, n, MSG_DONTWAIT);

                if (k >= 0)
                        return k;
                if (errno == EINTR)
                        continue;
                if (errno != EAGAIN)
                        s->error = -errno; /* the kernel tells it once only */
                return -errno;
        }
}

ssize_t stream_writev(struct io_stream *stream, const struct iovec *iov, size_t n_iov) {
        struct stream *s = stream_of(stream);
        const struct msghdr message = {
                .msg_iov = (struct iovec *) iov,
                .msg_iovlen = MIN(n_iov, (size_t) IOV_MAX),
        };

        if (s->error < 0)
                return s->error;
        if (s->state != STREAM_OPEN)
                return -EAGAIN;

        for (;;) {
                ssize_t k = sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (k >= 0)
                        return k;
                if (errno != EINTR)
                        return -errno; /* not kept: what the peer said before may still be read */
        }
}

void stream_want(struct io_stream *stream, unsigned events) {
        struct stream *s = stream_of(stream);

        s->wanted = events;
        if (s->state == STREAM_BROKEN) {
                if (events != 0)
                        loop_arm_late(s->loop);
        } else if (s->state == STREAM_OPEN && !s->in_handler) /* else when the handler returns */
                register_events(s);
}

void stream_finish(struct io_stream *stream) {
        struct stream *s = stream_of(stream);

        if (s->state == STREAM_OPEN && s->error == 0)
                (void) shutdown(s->fd, SHUT_WR); /* where the peer has gone, reading tells */
}

void stream_close(struct io_stream *stream) {
        struct stream *s = stream_of(stream);

        if (s->is_gone)
                *s->is_gone = true; /* I2 */
        if (s->lookup)
                s->lookup->stream = NULL; /* I4 */
        io_timer_cancel(s->stream.io, &s->next_timer);
        drop_socket(s);
        list_remove(&s->broken_link);
        list_remove(&s->link);
        mem_free(s->places);
        mem_free(s);
}

void stream_tell_broken(struct io_loop *l) {
        size_t n = 0;

        LIST_FOREACH(&l->broken, s, struct stream, broken_link)
                n++;

        for (; n > 0; n--) {
                struct stream *s = list_pop(&l->broken, struct stream, broken_link);

                if (!s) /* a handler closed it */
                        return;

                list_append(&l->broken, &s->broken_link);
                if (s->wanted != 0 && tell(s, s->wanted) && s->wanted != 0)
                        loop_arm_late(l);
        }
}
