/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A service manager and a journal, as far as a daemon can tell them from systemd's: NOTIFY_SOCKET with
 * its file descriptor store and barriers, WATCHDOG_USEC, sockets passed as LISTEN_FDS, and a socket at
 * the place where the journal's is, in a mount namespace of its own.
 *
 *     manager [--journal] [--watchdog USEC] [--unix PATH]... --stderr FILE COMMAND [ARGUMENT]...
 *
 * Told on standard input, a line each:
 *
 *     start           run the command, with the sockets of --unix and what is stored
 *     signal NUMBER   send it to the process
 *     restart NUMBER  the same, and start it again as soon as it has ended
 *     forget          close what is stored, as a stop does
 *
 * It ends with its input, and kills what still runs. It says, one JSON object a line, with the
 * monotonic time "at_ms" in each:
 *
 *     {"started": PID}
 *     {"notify": ["READY=1"], "fds": 0}
 *     {"journal": {"MESSAGE": "…", …}}
 *     {"exited": STATUS} or {"killed": SIGNAL}, "stored": N
 *     {"watchdog": "expired"}                           and the process is killed
 */

#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/macro.h"
#include "base/parse.h"
#include "base/time.h"

#define FDS_MAX 64u
#define MESSAGE_BYTES_MAX (1u << 18)
#define JOURNAL_DIR "/run/systemd/journal"

struct held {
        int fd;
        char *name;
};

struct manager {
        sd_event *event;
        char **argv;
        const char *stderr_path;
        const char *journal_stream; /* "device:inode" */
        char notify_path[64];
        int notify_fd, journal_fd;
        uint64_t watchdog_usec;
        sd_event_source *watchdog;
        struct held units[FDS_MAX], stored[FDS_MAX];
        size_t n_units, n_stored;
        pid_t pid; /* 0: nothing runs */
        bool is_ready;
        bool restarts; /* when it ends */
};

static _Noreturn void die(const char *what) {
        fprintf(stderr, "manager: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

static void say(json_t *o) {
        if (o)
                json_object_set_new(
                        o,
                        "at_ms",
                        json_integer((json_int_t) (now_monotonic_usec() / USEC_PER_MSEC)));
        if (!o || json_dumpf(o, stdout, JSON_COMPACT) < 0)
                die("cannot say");
        putchar('\n');
        fflush(stdout);
        json_decref(o);
}

/* The store */

static bool is_same_file(int a, int b) {
        struct stat x, y;

        return fstat(a, &x) >= 0 && fstat(b, &y) >= 0 && x.st_dev == y.st_dev &&
               x.st_ino == y.st_ino;
}

static void store(struct manager *m, int fd, const char *name) {
        for (size_t i = 0; i < m->n_stored; i++)
                if (is_same_file(m->stored[i].fd, fd)) {
                        close(fd);
                        return;
                }
        if (m->n_stored >= FDS_MAX)
                die("too many descriptors");

        m->stored[m->n_stored++] = (struct held){ fd, strdup(name) };
}

/* @name: NULL for all. */
static void unstore(struct manager *m, const char *name) {
        size_t n = 0;

        for (size_t i = 0; i < m->n_stored; i++) {
                if (name && !streq(m->stored[i].name, name)) {
                        m->stored[n++] = m->stored[i];
                        continue;
                }
                close(m->stored[i].fd);
                free(m->stored[i].name);
        }
        m->n_stored = n;
}

/* What the process says */

static int on_watchdog(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata) {
        struct manager *m = userdata;

        say(json_pack("{s:s}", "watchdog", "expired"));
        if (m->pid > 0)
                kill(m->pid, SIGKILL);
        return 0;
}

static void feed_watchdog(struct manager *m) {
        if (m->watchdog_usec == 0 || !m->is_ready)
                return;
        if (sd_event_source_set_time(m->watchdog, now_monotonic_usec() + m->watchdog_usec) < 0 ||
            sd_event_source_set_enabled(m->watchdog, SD_EVENT_ONESHOT) < 0)
                die("watchdog");
}

static const char *value_of(json_t *lines, const char *key) {
        const size_t n = strlen(key);
        size_t i;
        json_t *line;

        json_array_foreach(lines, i, line) {
                const char *s = json_string_value(line);

                if (strncmp(s, key, n) == 0 && s[n] == '=')
                        return s + n + 1;
        }
        return NULL;
}

static void handle_notify(struct manager *m, char *text, int *fds, size_t n_fds) {
        json_t *lines = json_array();
        const char *name;

        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
                json_array_append_new(lines, json_string(line));

        name = value_of(lines, "FDNAME");
        if (value_of(lines, "READY"))
                m->is_ready = true;
        if (value_of(lines, "READY") || value_of(lines, "WATCHDOG"))
                feed_watchdog(m);
        if (value_of(lines, "FDSTOREREMOVE") && name)
                unstore(m, name);
        for (size_t i = 0; i < n_fds; i++)
                if (value_of(lines, "FDSTORE"))
                        store(m, fds[i], name ?: "stored");
                else
                        close(fds[i]); /* of a barrier: all before it is done */
        say(json_pack("{s:o, s:i}", "notify", lines, "fds", (int) n_fds));
}

/* Return: bytes; 0 there are none. */
static size_t receive(int fd, char *buffer, size_t n, int *fds, size_t *ret_n_fds) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
        } control;
        struct iovec v = { .iov_base = buffer, .iov_len = n - 1 };
        struct msghdr h = {
                .msg_iov = &v,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        ssize_t k;

        *ret_n_fds = 0;
        k = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (k < 0) {
                if (errno == EAGAIN)
                        return 0;
                die("recvmsg");
        }

        buffer[k] = '\0';
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
                        *ret_n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(fds, CMSG_DATA(c), *ret_n_fds * sizeof(int));
                }
        return (size_t) k;
}

static int
on_notify(_unused_ sd_event_source *s, int fd, _unused_ uint32_t events, void *userdata) {
        static char text[MESSAGE_BYTES_MAX];
        int fds[FDS_MAX];
        size_t n_fds;

        while (receive(fd, text, sizeof(text), fds, &n_fds) > 0)
                handle_notify(userdata, text, fds, n_fds);
        return 0;
}

/* "KEY=value\n", or "KEY\n", 8 bytes of length, value, "\n". */
static void handle_entry(char *p, size_t n) {
        json_t *o = json_object();
        char *end = p + n;

        while (p < end) {
                char *line_end = memchr(p, '\n', (size_t) (end - p)), *equals;

                if (!line_end)
                        die("a journal entry is malformed");
                equals = memchr(p, '=', (size_t) (line_end - p));
                *line_end = '\0';
                if (equals) {
                        *equals = '\0';
                        json_object_set_new(o, p, json_string(equals + 1));
                        p = line_end + 1;
                } else {
                        uint64_t n_value = le64_load((const uint8_t *) line_end + 1);

                        json_object_set_new(o, p, json_stringn(line_end + 9, n_value));
                        p = line_end + 1 + 8 + n_value + 1;
                }
        }
        say(json_pack("{s:o}", "journal", o));
}

static int on_entry(_unused_ sd_event_source *s, int fd, _unused_ uint32_t events, void *userdata) {
        static char entry[MESSAGE_BYTES_MAX];
        int fds[FDS_MAX];
        size_t n, n_fds;

        (void) userdata;
        while ((n = receive(fd, entry, sizeof(entry), fds, &n_fds)) > 0)
                handle_entry(entry, n);
        return 0;
}

/* The process */

static void start(struct manager *m);

static int on_exit_of(_unused_ sd_event_source *s, const siginfo_t *si, void *userdata) {
        struct manager *m = userdata;

        (void) on_notify(NULL, m->notify_fd, 0, m); /* what it said last comes first */
        if (m->journal_fd >= 0)
                (void) on_entry(NULL, m->journal_fd, 0, m);
        m->pid = 0;
        m->is_ready = false;
        if (m->watchdog)
                (void) sd_event_source_set_enabled(m->watchdog, SD_EVENT_OFF);
        say(json_pack("{s:i, s:i}",
                      si->si_code == CLD_EXITED ? "exited" : "killed",
                      si->si_status,
                      "stored",
                      (int) m->n_stored));
        if (m->restarts) {
                m->restarts = false;
                start(m);
        }
        return 0;
}

static void set_number(const char *name, uint64_t v) {
        char text[32];

        snprintf(text, sizeof(text), "%llu", (unsigned long long) v);
        setenv(name, text, 1);
}

/* From 3 on, and nothing else stays open. */
static void pass_fds(const struct manager *m) {
        int fds[2 * FDS_MAX];
        char names[65536] = "";
        size_t n = 0;

        for (size_t i = 0; i < m->n_units + m->n_stored; i++) {
                const struct held *h = i < m->n_units ? m->units + i : m->stored + (i - m->n_units);

                fds[n] = fcntl(h->fd, F_DUPFD_CLOEXEC, 512);
                if (fds[n++] < 0)
                        die("dup");
                strcat(strcat(names, i > 0 ? ":" : ""), h->name);
        }
        for (size_t i = 0; i < n; i++)
                if (dup2(fds[i], 3 + (int) i) < 0)
                        die("dup2");
        closefrom(3 + (int) n);
        if (n == 0)
                return;

        set_number("LISTEN_PID", (uint64_t) getpid());
        set_number("LISTEN_FDS", n);
        setenv("LISTEN_FDNAMES", names, 1);
}

static _Noreturn void be_process(const struct manager *m) {
        sigset_t none;
        int fd;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0 || dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
                die("/dev/null");
        fd = open(m->stderr_path, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
                die(m->stderr_path);
        setenv("NOTIFY_SOCKET", m->notify_path, 1);
        if (m->journal_stream)
                setenv("JOURNAL_STREAM", m->journal_stream, 1);
        if (m->watchdog_usec > 0) {
                set_number("WATCHDOG_USEC", m->watchdog_usec);
                set_number("WATCHDOG_PID", (uint64_t) getpid());
        }
        execvp(m->argv[0], m->argv);
        die(m->argv[0]);
}

static void start(struct manager *m) {
        if (m->pid > 0)
                return;

        fflush(stdout);
        m->pid = fork();
        if (m->pid < 0)
                die("fork");
        if (m->pid == 0) {
                pass_fds(m);
                be_process(m);
        }
        if (sd_event_add_child(m->event, NULL, m->pid, WEXITED, on_exit_of, m) < 0)
                die("waiting for the process");
        say(json_pack("{s:i}", "started", (int) m->pid));
}

static int on_input(_unused_ sd_event_source *s, int fd, _unused_ uint32_t events, void *userdata) {
        static char buffer[4096];
        static size_t n_buffered;
        struct manager *m = userdata;
        ssize_t k;
        char *line_end;

        k = read(fd, buffer + n_buffered, sizeof(buffer) - n_buffered - 1);
        if (k <= 0)
                return sd_event_exit(m->event, 0);
        n_buffered += (size_t) k;
        buffer[n_buffered] = '\0';

        while ((line_end = strchr(buffer, '\n'))) {
                *line_end = '\0';
                if (streq(buffer, "start"))
                        start(m);
                else if (streq(buffer, "forget"))
                        unstore(m, NULL);
                else if (m->pid > 0 && strncmp(buffer, "signal ", 7) == 0)
                        kill(m->pid, atoi(buffer + 7));
                else if (m->pid > 0 && strncmp(buffer, "restart ", 8) == 0) {
                        m->restarts = true;
                        kill(m->pid, atoi(buffer + 8));
                }
                n_buffered -= (size_t) (line_end + 1 - buffer);
                memmove(buffer, line_end + 1, n_buffered + 1);
        }
        return 0;
}

/* Sockets */

static int bind_unix(const char *path, int type) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        int fd;

        if (strlen(path) >= sizeof(sun.sun_path)) {
                errno = ENAMETOOLONG;
                die(path);
        }
        strcpy(sun.sun_path, path);
        if (path[0] == '@')
                sun.sun_path[0] = '\0';

        fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd,
                           (struct sockaddr *) &sun,
                           (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
                die(path);
        return fd;
}

static void add_unit(struct manager *m, const char *path) {
        const int fd = bind_unix(path, SOCK_STREAM);

        if (listen(fd, SOMAXCONN) < 0 || m->n_units >= FDS_MAX)
                die(path);
        m->units[m->n_units++] = (struct held){ fd, strdup("unix") };
}

static void write_file(const char *path, const char *text) {
        const int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                die(path);
        close(fd);
}

/* Also for who is not root: then root's rights come from a user namespace. */
static void enter_namespace(void) {
        char map[64];
        const unsigned uid = getuid(), gid = getgid();

        if (unshare(CLONE_NEWNS) < 0) {
                if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                        die("unshare");
                write_file("/proc/self/setgroups", "deny");
                snprintf(map, sizeof(map), "%u %u 1", uid, uid);
                write_file("/proc/self/uid_map", map);
                snprintf(map, sizeof(map), "%u %u 1", gid, gid);
                write_file("/proc/self/gid_map", map);
        }
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", "/run", "tmpfs", 0, "mode=755") < 0 || mkdir("/run/systemd", 0755) < 0 ||
            mkdir(JOURNAL_DIR, 0755) < 0)
                die("a /run of its own");
}

static const char *stream_of(const char *path) {
        static char text[64];
        struct stat st;

        if (stat(path, &st) < 0)
                die(path);
        snprintf(text,
                 sizeof(text),
                 "%llu:%llu",
                 (unsigned long long) st.st_dev,
                 (unsigned long long) st.st_ino);
        return text;
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                { "journal", no_argument, NULL, 'j' },
                { "watchdog", required_argument, NULL, 'w' },
                { "unix", required_argument, NULL, 'u' },
                { "stderr", required_argument, NULL, 'e' },
                {},
        };
        struct manager m = { .notify_fd = -EBADF, .journal_fd = -EBADF };
        bool with_journal = false;
        sigset_t signals;
        int c, fd;

        while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0)
                switch (c) {
                case 'j':
                        with_journal = true;
                        break;
                case 'w':
                        if (parse_uint64(optarg, &m.watchdog_usec) < 0)
                                return EXIT_FAILURE;
                        break;
                case 'u':
                        add_unit(&m, optarg);
                        break;
                case 'e':
                        m.stderr_path = optarg;
                        break;
                default:
                        return EXIT_FAILURE;
                }
        m.argv = argv + optind;
        if (!m.argv[0] || !m.stderr_path) {
                errno = EINVAL;
                die("no command, or no --stderr");
        }

        fd = open(m.stderr_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (fd < 0)
                die(m.stderr_path);
        close(fd);
        sigemptyset(&signals);
        sigaddset(&signals, SIGCHLD);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        if (sd_event_new(&m.event) < 0)
                die("an event loop");

        snprintf(m.notify_path, sizeof(m.notify_path), "@drmq-manager-%d", (int) getpid());
        m.notify_fd = bind_unix(m.notify_path, SOCK_DGRAM);
        if (with_journal) {
                enter_namespace();
                m.journal_fd = bind_unix(JOURNAL_DIR "/socket", SOCK_DGRAM);
                m.journal_stream = stream_of(m.stderr_path);
        }

        if (sd_event_add_io(m.event, NULL, m.notify_fd, EPOLLIN, on_notify, &m) < 0 ||
            (m.journal_fd >= 0 &&
             sd_event_add_io(m.event, NULL, m.journal_fd, EPOLLIN, on_entry, &m) < 0) ||
            sd_event_add_io(m.event, NULL, STDIN_FILENO, EPOLLIN, on_input, &m) < 0 ||
            sd_event_add_time(
                    m.event, &m.watchdog, CLOCK_MONOTONIC, UINT64_MAX, 0, on_watchdog, &m) < 0)
                die("an event loop");

        (void) sd_event_loop(m.event);
        if (m.pid > 0)
                kill(m.pid, SIGKILL);
        return EXIT_SUCCESS;
}
