/* SPDX-License-Identifier: Apache-2.0 */

/* Tests loop/journal.h: what arrives at the journal's socket. Its place is fixed, so each test has a
 * mount namespace of its own, with a socket there. */

#include "loop/journal.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/messages.h"
#include "tests/lib/test.h"

#define JOURNAL_DIR "/run/systemd/journal"
#define LONG_BYTES (16u << 20) /* more than libsystemd makes room for */

static void write_file(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        ASSERT_OK(fd < 0 ? -errno : 0);
        ASSERT_EQ(write(fd, text, strlen(text)), (ssize_t) strlen(text));
        close(fd);
}

/* Who is not root has the right to mount in a user namespace. */
static void enter_namespace(void) {
        char map[64];
        unsigned uid = getuid(), gid = getgid();

        if (unshare(CLONE_NEWNS) < 0) {
                ASSERT_OK(unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ? -errno : 0);
                write_file("/proc/self/setgroups", "deny");
                snprintf(map, sizeof(map), "%u %u 1", uid, uid);
                write_file("/proc/self/uid_map", map);
                snprintf(map, sizeof(map), "%u %u 1", gid, gid);
                write_file("/proc/self/gid_map", map);
        }
        ASSERT_OK(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0);
        ASSERT_OK(mount("tmpfs", "/run", "tmpfs", 0, "mode=755") < 0 ? -errno : 0);
        ASSERT_OK(mkdir("/run/systemd", 0755) < 0 ? -errno : 0);
        ASSERT_OK(mkdir(JOURNAL_DIR, 0755) < 0 ? -errno : 0);
}

/* The descriptor that libsystemd takes, and keeps. */
static int library_fd;

static void end_journal(int fd) {
        close(fd);
        close(library_fd);
}

/* stderr is the journal from now on. Returns its socket. */
static int be_journal(void) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX, .sun_path = JOURNAL_DIR "/socket" };
        char stream[64];
        struct stat st;
        int fd;

        enter_namespace();
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ASSERT_GE(fd, 0);
        ASSERT_OK(bind(fd, (struct sockaddr *) &sun, sizeof(sun)) < 0 ? -errno : 0);

        ASSERT_OK(fstat(STDERR_FILENO, &st) < 0 ? -errno : 0);
        snprintf(stream,
                 sizeof(stream),
                 "%llu:%llu",
                 (unsigned long long) st.st_dev,
                 (unsigned long long) st.st_ino);
        setenv("JOURNAL_STREAM", stream, 1);
        library_fd = dup(fd); /* the lowest that is free */
        close(library_fd);
        return fd;
}

/* The next entry, in one piece; what is too long for a datagram comes as a file. */
static size_t receive(int fd, char *buffer, size_t n, bool *ret_is_file) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec v = { .iov_base = buffer, .iov_len = n - 1 };
        struct msghdr h = {
                .msg_iov = &v,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *c;
        ssize_t k;
        int file;

        k = recvmsg(fd, &h, MSG_DONTWAIT);
        ASSERT_GE(k, 0);
        c = CMSG_FIRSTHDR(&h);
        *ret_is_file = c != NULL;
        if (c) {
                ASSERT_EQ(k, 0);
                ASSERT_EQ(c->cmsg_type, SCM_RIGHTS);
                memcpy(&file, CMSG_DATA(c), sizeof(file));
                k = pread(file, buffer, n - 1, 0);
                ASSERT_GT(k, 0);
                close(file);
        }
        buffer[k] = '\0';
        return (size_t) k;
}

/* @entry may hold NULs: the lengths of values. */
static bool has(const char *entry, size_t n, const char *text) {
        return memmem(entry, n, text, strlen(text)) != NULL;
}

static bool has_line(const char *entry, size_t n, const char *line) {
        char text[256];

        snprintf(text, sizeof(text), "\n%s\n", line);
        return has(entry, n, text) ||
               (n > strlen(line) && strncmp(entry, text + 1, strlen(line) + 1) == 0);
}

TEST(an_event_arrives_with_its_fields) {
        static char entry[65536];
        int fd = be_journal();
        bool is_file;
        size_t n;

        log_setup("x", LOG_INFO);
        ASSERT_EQ(journal_set_sink(), 1);
        log_info("Before the node has a name");
        n = receive(fd, entry, sizeof(entry), &is_file);
        ASSERT_TRUE(has_line(entry, n, "MESSAGE=Before the node has a name"));
        ASSERT_TRUE(has_line(entry, n, "PRIORITY=6"));
        ASSERT_FALSE(has(entry, n, "DRMQ_"));
        ASSERT_FALSE(has(entry, n, "CODE_"));

        journal_set_node("n1");
        log_event(LOG_NOTICE,
                  DRMQ_MESSAGE_LEADER_ELECTED,
                  FIELDS(FIELD_SHARD(1), FIELD_TERM(7), FIELD_ERROR(-EIO)),
                  "Node %d leads",
                  2);
        n = receive(fd, entry, sizeof(entry), &is_file);
        ASSERT_FALSE(is_file);
        ASSERT_TRUE(has_line(entry, n, "MESSAGE=Node 2 leads"));
        ASSERT_TRUE(has_line(entry, n, "MESSAGE_ID=" DRMQ_MESSAGE_LEADER_ELECTED));
        ASSERT_TRUE(has_line(entry, n, "PRIORITY=5"));
        ASSERT_TRUE(has_line(entry, n, "DRMQ_NODE=n1"));
        ASSERT_TRUE(has_line(entry, n, "DRMQ_SHARD=1"));
        ASSERT_TRUE(has_line(entry, n, "DRMQ_TERM=7"));
        ASSERT_TRUE(has_line(entry, n, "DRMQ_ERROR=EIO"));
        end_journal(fd);
}

TEST(a_text_with_line_ends_forges_no_field) {
        static char entry[65536];
        int fd = be_journal();
        bool is_file;
        size_t n;

        log_setup("x", LOG_INFO);
        ASSERT_EQ(journal_set_sink(), 1);
        log_event(LOG_NOTICE,
                  DRMQ_MESSAGE_LEADER_ELECTED,
                  FIELDS(FIELD_TOPIC("a\nPRIORITY=0")),
                  "b\nDRMQ_NODE=other");
        n = receive(fd, entry, sizeof(entry), &is_file);
        /* such a value has its length before it, and its name alone on a line */
        ASSERT_TRUE(has_line(entry, n, "PRIORITY=5"));
        ASSERT_FALSE(has(entry, n, "DRMQ_TOPIC="));
        ASSERT_FALSE(has(entry, n, "\nMESSAGE="));
        end_journal(fd);
}

TEST(what_is_too_long_for_a_datagram_arrives_whole) {
        static char value[LONG_BYTES], entry[LONG_BYTES + 65536];
        int fd = be_journal();
        const char *fields[] = { value, NULL };
        bool is_file;
        char *found;
        size_t n;

        memset(value, 'x', sizeof(value) - 1);
        memcpy(value, "DRMQ_FILE=", 10);

        log_setup("x", LOG_INFO);
        ASSERT_EQ(journal_set_sink(), 1);
        log_emit(&(struct log_record){ .level = LOG_ERR, .fields = fields, .text = "Long" });
        n = receive(fd, entry, sizeof(entry), &is_file);
        ASSERT_TRUE(is_file);
        ASSERT_TRUE(has_line(entry, n, "MESSAGE=Long"));
        found = memmem(entry, n, "DRMQ_FILE=", 10);
        ASSERT_NOT_NULL(found);
        ASSERT_MEM(found, value, sizeof(value) - 1);
        ASSERT_EQ(found[sizeof(value) - 1], '\n');
        end_journal(fd);
}

TEST(a_terminal_is_no_journal) {
        unsetenv("JOURNAL_STREAM");
        ASSERT_EQ(journal_set_sink(), 0);
        setenv("JOURNAL_STREAM", "1:1", 1);
        ASSERT_EQ(journal_set_sink(), 0);
}
