/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets and what comes in. */
#include "loop/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/parse.h"
#include "loop/loop.h"
#include "loop/stream.h"

#define SOCKET_MODE 0660
/* How many connections are accepted before others have their turn. */
#define ACCEPTS_AT_ONCE 16u
#define RETRY_USEC (100 * USEC_PER_MSEC)

struct listener {
        struct io_loop *loop;
        listener_accept_t on_accept;
        void *userdata;
        int fd;
        sd_event_source *source;
        uint64_t round;
        struct io_timer retry_timer;
        char *name;
        uint16_t port;
        char *path; /* of a Unix socket that was made here */
        dev_t path_device;
        ino_t path_inode;
};

/* accept(2) hands over errors of the connection that it would have returned, too; they are no
 * reason to stop. */
static bool is_exhausted(int error) {
        return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void pause_accepting(struct listener *l) {
        struct io *io = &l->loop->base.io;

        /* Without memory for the timer it stays on, and the loop turns until there is some. */
        if (io_timer_set(io, &l->retry_timer, usec_add(io_now(io), RETRY_USEC)) >= 0)
                loop_assert_set(sd_event_source_set_enabled(l->source, SD_EVENT_OFF));
}

static void on_retry_timer(_unused_ struct io_timer *t, void *userdata) {
        struct listener *l = userdata;

        loop_assert_set(sd_event_source_set_enabled(l->source, SD_EVENT_ON));
}

static int on_connection(_unused_ sd_event_source *source,
                         _unused_ int listen_fd,
                         _unused_ uint32_t revents,
                         void *userdata) {
        struct listener *l = userdata;

        loop_note_event(l->loop, &l->round);

        for (unsigned i = 0; i < ACCEPTS_AT_ONCE; i++) {
                _cleanup_(fd_closep) int fd = -EBADF;
                struct io_stream *s;
                int r;

                fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) {
                        if (errno == EAGAIN)
                                return 0;
                        if (!is_exhausted(errno))
                                continue;
                        pause_accepting(l);
                        return 0;
                }

                r = stream_adopt(l->loop, fd, /* handler= */ NULL, /* userdata= */ NULL, &s);
                if (r < 0)
                        continue; /* no memory: that one is closed */

                TAKE_FD(fd);
                l->on_accept(l, s, l->userdata);
        }

        return 0;
}

/* Return: 0 nobody is there, or no longer; -EADDRINUSE; -EEXIST no socket. */
static int remove_stale(const struct sockaddr_un *sun) {
        _cleanup_(fd_closep) int fd = -EBADF;
        struct stat st;

        if (lstat(sun->sun_path, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISSOCK(st.st_mode))
                return -EEXIST;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;

        if (connect(fd, (const struct sockaddr *) sun, sizeof(*sun)) >= 0 || errno != ECONNREFUSED)
                /* also when its queue is full, or it is somebody's we may not ask */
                return -EADDRINUSE;

        return unlink(sun->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int listen_local(struct listener *l, const char *path) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        struct stat st;
        int r;

        if (strlen(path) >= sizeof(sun.sun_path))
                return -ENAMETOOLONG;
        strcpy(sun.sun_path, path);

        r = remove_stale(&sun);
        if (r < 0)
                return r;

        l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (l->fd < 0)
                return -errno;
        l->path = mem_strdup(path);
        if (!l->path)
                return -ENOMEM;
        if (bind(l->fd, (const struct sockaddr *) &sun, sizeof(sun)) < 0)
                return -errno;
        if (lstat(path, &st) < 0)
                return -errno;

        l->path_device = st.st_dev;
        l->path_inode = st.st_ino;

        if (chmod(path, SOCKET_MODE) < 0) /* nobody can connect before listen(2) */
                return -errno;

        l->name = mem_asprintf("unix:%s", path);
        return l->name ? 0 : -ENOMEM;
}

/* "unix:/path"; "unix:@name" of an abstract one; "unix:" of one without a name. */
static char *name_local(const struct sockaddr_un *sun, socklen_t n) {
        const size_t path_offset = offsetof(struct sockaddr_un, sun_path);
        const int n_path = n > path_offset ? (int) (n - path_offset) : 0;

        if (n_path > 1 && sun->sun_path[0] == '\0')
                return mem_asprintf("unix:@%.*s", n_path - 1, sun->sun_path + 1);
        return mem_asprintf("unix:%.*s", n_path, sun->sun_path);
}

static int name_bound(struct listener *l) {
        char text[INET6_ADDRSTRLEN];
        struct sockaddr_storage ss;
        socklen_t n = sizeof(ss);

        if (getsockname(l->fd, (struct sockaddr *) &ss, &n) < 0)
                return -errno;

        if (ss.ss_family == AF_UNIX)
                l->name = name_local((const struct sockaddr_un *) &ss, n);
        else if (ss.ss_family == AF_INET6) {
                const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &ss;

                l->port = ntohs(in6->sin6_port);
                l->name = mem_asprintf("[%s]:%u",
                                       inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text)),
                                       l->port);
        } else if (ss.ss_family == AF_INET) {
                const struct sockaddr_in *in = (const struct sockaddr_in *) &ss;

                l->port = ntohs(in->sin_port);
                l->name = mem_asprintf(
                        "%s:%u", inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)), l->port);
        } else
                return -EAFNOSUPPORT;

        return l->name ? 0 : -ENOMEM;
}

/* All addresses of a name. Return: 0; -ENXIO it means nothing; -ENOMEM. */
static int resolve(const struct address *a, struct addrinfo **ret) {
        const struct addrinfo hints = {
                .ai_family = AF_UNSPEC,
                .ai_socktype = SOCK_STREAM,
                .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
        };
        char port[6];
        int r;

        snprintf(port, sizeof(port), "%u", a->port);
        r = getaddrinfo(a->host, port, &hints, ret);
        return r == 0 ? 0 : r == EAI_MEMORY ? -ENOMEM : -ENXIO;
}

static int bind_inet(struct listener *l, const struct addrinfo *a) {
        _cleanup_(fd_closep) int fd = -EBADF;

        fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0)
                return -errno;
        if (bind(fd, a->ai_addr, a->ai_addrlen) < 0)
                return -errno;

        l->fd = TAKE_FD(fd);
        return 0;
}

static int listen_inet(struct listener *l, const struct address *a) {
        struct addrinfo *all;
        int r;

        r = resolve(a, &all);
        if (r < 0)
                return r;

        r = -EADDRNOTAVAIL;
        for (const struct addrinfo *i = all; i; i = i->ai_next) {
                r = bind_inet(l, i);
                if (r != -EADDRNOTAVAIL && r != -EAFNOSUPPORT)
                        break;
        }
        freeaddrinfo(all);
        if (r < 0)
                return r;

        return name_bound(l);
}

static struct listener *
listener_alloc(struct io_loop *loop, listener_accept_t on_accept, void *userdata) {
        struct listener *l;

        assert(loop);
        assert(on_accept);

        l = new0(struct listener, 1);
        if (!l)
                return NULL;

        l->loop = loop;
        l->on_accept = on_accept;
        l->userdata = userdata;
        l->fd = -EBADF;
        l->retry_timer.on_timer = on_retry_timer;
        l->retry_timer.userdata = l;
        return l;
}

static int listener_begin(struct listener *l) {
        return sd_event_add_io(l->loop->event, &l->source, l->fd, EPOLLIN, on_connection, l);
}

int listener_new(struct io_loop *loop,
                 const struct address *a,
                 listener_accept_t on_accept,
                 void *userdata,
                 struct listener **ret) {
        _cleanup_(listener_freep) struct listener *l = NULL;
        int r;

        assert(a && (a->path || a->host));
        assert(ret);

        l = listener_alloc(loop, on_accept, userdata);
        if (!l)
                return -ENOMEM;

        r = a->path ? listen_local(l, a->path) : listen_inet(l, a);
        if (r < 0)
                return r;
        if (listen(l->fd, SOMAXCONN) < 0)
                return -errno;
        r = listener_begin(l);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(l);
        return 0;
}

/* Return: 0; -ENOTSOCK; -EPROTOTYPE. */
static int check_listens(int fd) {
        socklen_t n = sizeof(int);
        int type, listens;

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0)
                return -errno;
        n = sizeof(int);
        if (type != SOCK_STREAM || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) < 0 ||
            !listens)
                return -EPROTOTYPE;

        return 0;
}

int listener_adopt(struct io_loop *loop,
                   int fd,
                   listener_accept_t on_accept,
                   void *userdata,
                   struct listener **ret) {
        _cleanup_(listener_freep) struct listener *l = NULL;
        int r, flags;

        assert(fd >= 0);
        assert(ret);

        r = check_listens(fd);
        if (r < 0)
                return r;
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;

        l = listener_alloc(loop, on_accept, userdata);
        if (!l)
                return -ENOMEM;

        l->fd = fd;
        r = name_bound(l);
        if (r >= 0)
                r = listener_begin(l);
        if (r < 0) {
                l->fd = -EBADF; /* the caller's again */
                return r;
        }

        *ret = TAKE_PTR(l);
        return 0;
}

struct listener *listener_free(struct listener *l) {
        struct stat st;

        if (!l)
                return NULL;

        io_timer_cancel(&l->loop->base.io, &l->retry_timer);
        sd_event_source_disable_unref(l->source);
        if (l->path && lstat(l->path, &st) >= 0 && st.st_dev == l->path_device &&
            st.st_ino == l->path_inode)
                (void) unlink(l->path);
        fd_close(l->fd);
        mem_free(l->path);
        mem_free(l->name);
        return mem_free(l);
}

const char *listener_name(const struct listener *l) {
        return l->name;
}

uint16_t listener_port(const struct listener *l) {
        return l->port;
}

int listener_fd(const struct listener *l) {
        return l->fd;
}

/* Of all addresses of a family; a v6 one may stand for those of v4 too. */
static bool is_any(const struct listener *l, const struct sockaddr *bound, int family) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) bound;
        socklen_t n = sizeof(int);
        int v6_only = 1;

        if (bound->sa_family == AF_INET)
                return family == AF_INET &&
                       ((const struct sockaddr_in *) bound)->sin_addr.s_addr == INADDR_ANY;
        if (!IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
                return false;

        (void) getsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, &n);
        return family == AF_INET6 || !v6_only;
}

static bool is_same_host(const struct sockaddr *a, const struct sockaddr *b) {
        if (a->sa_family != b->sa_family)
                return false;
        if (a->sa_family == AF_INET)
                return ((const struct sockaddr_in *) a)->sin_addr.s_addr ==
                       ((const struct sockaddr_in *) b)->sin_addr.s_addr;

        return IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *) a)->sin6_addr,
                                  &((const struct sockaddr_in6 *) b)->sin6_addr);
}

int listener_is_at(const struct listener *l, const struct address *a) {
        struct sockaddr_storage bound;
        socklen_t n = sizeof(bound);
        struct addrinfo *all;
        int r;

        assert(l);
        assert(a && (a->path || a->host));

        if (a->path)
                return strncmp(l->name, "unix:", 5) == 0 && streq(l->name + 5, a->path);
        if (l->port == 0 || (a->port != 0 && a->port != l->port) ||
            getsockname(l->fd, (struct sockaddr *) &bound, &n) < 0)
                return 0;

        r = resolve(a, &all);
        if (r < 0)
                return r == -ENXIO ? 0 : r;
        for (const struct addrinfo *i = all; i && r == 0; i = i->ai_next)
                r = is_same_host(i->ai_addr, (const struct sockaddr *) &bound) ||
                    is_any(l, (const struct sockaddr *) &bound, i->ai_family);
        freeaddrinfo(all);
        return r;
}
