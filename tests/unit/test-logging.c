/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/logging.h and base/trace.h: what arrives where, in which form. */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/logging.h"
#include "base/messages.h"
#include "base/trace.h"
#include "tests/lib/test.h"

/* Sends stderr into a file of the case's own. Returns its path. */
static const char *catch_stderr(void) {
        static char path[512];
        int fd;

        snprintf(path, sizeof(path), "%s/stderr", test_tmpdir());
        fd = ASSERT_OK(open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
        ASSERT_EQ(dup2(fd, STDERR_FILENO), STDERR_FILENO);
        fd_close(fd);
        return path;
}

static void assert_caught(const char *path, const char *expected) {
        _cleanup_(mem_freep) char *content = NULL;

        ASSERT_OK(fs_read_file(path, 1 << 20, &content, NULL));
        ASSERT_STREQ(content, expected);
}

TEST(lines_carry_the_name_and_stop_at_the_level) {
        const char *path = catch_stderr();

        unsetenv("JOURNAL_STREAM");
        log_setup("drmqd", LOG_NOTICE);
        ASSERT_EQ(log_max_level(), LOG_NOTICE);
        log_error("Cannot %s", "go on");
        log_notice("Two");
        log_info("not shown");
        log_debug("not shown");
        assert_caught(path, "drmqd: Cannot go on\ndrmqd: Two\n");
}

TEST(errno_form_returns_the_error_and_expands_m) {
        const char *path = catch_stderr();

        unsetenv("JOURNAL_STREAM");
        log_setup("x", LOG_INFO);
        errno = EEXIST;
        ASSERT_EQ(log_error_errno(-ENOENT, "Cannot open %s: %m", "file"), -ENOENT);
        ASSERT_EQ(log_warning_errno(EACCES, "Positive too: %m"), -EACCES);
        ASSERT_EQ(log_full_errno(LOG_INFO, 0, "None"), 0);
        ASSERT_EQ(log_oom(), -ENOMEM);
        ASSERT_EQ(log_full_errno(LOG_DEBUG, ENOENT, "not shown"), -ENOENT);
        ASSERT_EQ(errno, EEXIST);
        assert_caught(
                path,
                "x: Cannot open file: No such file or directory\nx: Positive too: Permission denied\nx: None\n"
                "x: Out of memory\n");
}

TEST(journal_gets_levels) {
        const char *path = catch_stderr();
        char stream[64];
        struct stat st;

        ASSERT_EQ(fstat(STDERR_FILENO, &st), 0);
        snprintf(stream,
                 sizeof(stream),
                 "%llu:%llu",
                 (unsigned long long) st.st_dev,
                 (unsigned long long) st.st_ino);
        setenv("JOURNAL_STREAM", stream, /* overwrite= */ 1);
        log_setup("drmqd", LOG_DEBUG);
        log_error("Bad");
        log_debug("Small");
        assert_caught(path, "<3>Bad\n<7>Small\n");
}

TEST(journal_of_somebody_else_is_not_ours) {
        const char *path = catch_stderr();

        setenv("JOURNAL_STREAM", "1:1", /* overwrite= */ 1);
        log_setup("drmqd", LOG_INFO);
        log_error("Bad");
        assert_caught(path, "drmqd: Bad\n");
}

TEST(text_of_strangers_stays_on_its_line) {
        const char *path = catch_stderr();

        unsetenv("JOURNAL_STREAM");
        log_setup("x", LOG_INFO);
        log_error("Topic %s", "a\n<0>b\033[2J\177ü");
        assert_caught(path, "x: Topic a <0>b [2J ü\n");
}

TEST(long_text_is_cut) {
        const char *path = catch_stderr();
        _cleanup_(mem_freep) char *text = mem_alloc0(10000), *expected = NULL;

        unsetenv("JOURNAL_STREAM");
        memset(text, 'y', 9999);
        log_setup("x", LOG_INFO);
        log_error("%s", text);
        text[LOG_TEXT_MAX - 1] = 0;
        expected = mem_asprintf("x: %s\n", text);
        assert_caught(path, expected);
}

TEST(logging_needs_no_memory) {
        const char *path = catch_stderr();
        size_t before = mem_bytes();

        unsetenv("JOURNAL_STREAM");
        log_setup("x", LOG_INFO);
        mem_fail_at(1);
        log_oom();
        ASSERT_FALSE(mem_fail_at(0)); /* none was asked for */
        ASSERT_EQ(mem_bytes(), before);
        assert_caught(path, "x: Out of memory\n");
}

struct caught {
        unsigned n;
        int level;
        char message_id[64], text[256], field[64];
};

static void catch_record(const struct log_record *record, void *userdata) {
        struct caught *c = userdata;

        c->n++;
        c->level = record->level;
        snprintf(c->message_id, sizeof(c->message_id), "%s", record->message_id ?: "");
        snprintf(c->text, sizeof(c->text), "%s", record->text);
        snprintf(c->field,
                 sizeof(c->field),
                 "%s",
                 record->fields && record->fields[0] ? record->fields[0] : "");
        errno = EIO; /* a sink's own business */
}

TEST(sink_gets_records_whole) {
        const char *path = catch_stderr();
        struct caught c = { 0 };

        log_setup("x", LOG_INFO);
        log_set_sink(catch_record, &c);
        errno = ENOENT;
        log_event(LOG_NOTICE,
                  DRMQ_MESSAGE_LEADER_ELECTED,
                  FIELDS(FIELD_SHARD(1)),
                  "Node %d leads shard %d: %m",
                  2,
                  1);
        ASSERT_EQ(errno, ENOENT);
        ASSERT_EQ(c.n, 1);
        ASSERT_EQ(c.level, LOG_NOTICE);
        ASSERT_STREQ(c.message_id, DRMQ_MESSAGE_LEADER_ELECTED);
        ASSERT_STREQ(c.text, "Node 2 leads shard 1: No such file or directory");
        ASSERT_STREQ(c.field, "DRMQ_SHARD=1");

        log_debug("not shown");
        ASSERT_EQ(c.n, 1);
        log_emit(&(struct log_record){ .level = LOG_DEBUG, .text = "not shown" });
        ASSERT_EQ(c.n, 1);
        log_emit(&(struct log_record){ .level = LOG_ERR, .text = "Made elsewhere" });
        ASSERT_STREQ(c.text, "Made elsewhere");
        log_set_sink(NULL, NULL);
        log_info("Back");
        ASSERT_EQ(c.n, 2);
        assert_caught(path, "x: Back\n");
}

static void trace_record(void *userdata, const struct log_record *record) {
        catch_record(record, userdata);
}

TEST(trace_emits_to_its_owner_only) {
        struct caught c = { 0 };
        struct tracer t = { .emit = trace_record, .userdata = &c };
        const char *path = catch_stderr();

        trace(&t,
              LOG_NOTICE,
              DRMQ_MESSAGE_RECOVERY_CUT,
              FIELDS(FIELD_INDEX(4711)),
              "Cut at %u",
              4711u);
        ASSERT_EQ(c.n, 1);
        ASSERT_EQ(c.level, LOG_NOTICE);
        ASSERT_STREQ(c.text, "Cut at 4711");
        ASSERT_STREQ(c.message_id, DRMQ_MESSAGE_RECOVERY_CUT);
        ASSERT_STREQ(c.field, "DRMQ_INDEX=4711");
        trace(NULL, LOG_ERR, NULL, NULL, "to nobody");
        trace(&(struct tracer){ 0 }, LOG_ERR, NULL, NULL, "to nobody");
        ASSERT_EQ(c.n, 1);
        assert_caught(path, "");
}

TEST(message_ids_are_ids_and_differ) {
        static const char *const ids[] = {
                DRMQ_MESSAGE_STARTED,
                DRMQ_MESSAGE_STOPPING,
                DRMQ_MESSAGE_LEADER_ELECTED,
                DRMQ_MESSAGE_RECOVERY_CUT,
                DRMQ_MESSAGE_CORRUPTION_FOUND,
                DRMQ_MESSAGE_FATAL_DISK,
                DRMQ_MESSAGE_HARDSTATE_REPAIRED,
                DRMQ_MESSAGE_LOG_UNFINISHED_CREATION,
                DRMQ_MESSAGE_TOPIC_CREATED,
                DRMQ_MESSAGE_TOPIC_DELETED,
                DRMQ_MESSAGE_INTENT_CARRIED_OUT,
                DRMQ_MESSAGE_DISK_FULL,
        };

        for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
                ASSERT_EQ(strlen(ids[i]), 32);
                ASSERT_EQ(strspn(ids[i], "0123456789abcdef"), 32);
                for (size_t j = 0; j < i; j++)
                        ASSERT_FALSE(streq(ids[i], ids[j]));
        }
}
