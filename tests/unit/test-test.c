/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tests tests/lib/test.h: that the alarm works. Each case runs this program once more, with its own
 * name and a sign in the environment; that inner run does what must be reported.
 */

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "tests/lib/test.h"

#define INNER "DRMQ_TEST_INNER"

static bool is_inner(void) {
        return getenv(INNER) != NULL;
}

/* Runs case @name of this program as the inner run; its output is in @ret_output. Return: its exit
 * status. */
static int run_inner(const char *name, char *ret_output, size_t size) {
        _cleanup_(fd_closep) int read_fd = -EBADF;
        char program[4096];
        size_t n = 0;
        int fds[2], status;
        ssize_t k;
        pid_t pid;

        /* By name, so that it works in valgrind too. */
        k = readlink("/proc/self/exe", program, sizeof(program) - 1);
        ASSERT_GT(k, 0);
        program[k] = 0;

        ASSERT_EQ(pipe(fds), 0);
        read_fd = fds[0];
        pid = fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
                dup2(fds[1], STDOUT_FILENO);
                close(fds[0]);
                close(fds[1]);
                setenv(INNER, "1", /* overwrite= */ 1);
                execl(program, program, name, (char *) NULL);
                _exit(127);
        }

        close(fds[1]);
        while ((k = read(read_fd, ret_output + n, size - 1 - n)) > 0)
                n += (size_t) k;
        ret_output[n] = 0;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFEXITED(status));
        return WEXITSTATUS(status);
}

/* The inner run of @name fails, says so by name, and says @words. */
static void assert_alarm(const char *name, const char *words) {
        char output[8192], line[128];

        ASSERT_EQ(run_inner(name, output, sizeof(output)), 1);
        snprintf(line, sizeof(line), "not ok 1 - %s\n", name);
        if (!strstr(output, line) || !strstr(output, words))
                test_fail(__FILE__,
                          __LINE__,
                          "expected \"%s\" and a failure of %s in:\n%s",
                          words,
                          name,
                          output);
}

TEST(assert_eq_prints_both_values) {
        if (is_inner())
                ASSERT_EQ(-1, UINT64_MAX);
        assert_alarm("assert_eq_prints_both_values", "left -1, right 18446744073709551615");
}

TEST(assert_true_prints_expression) {
        if (is_inner())
                ASSERT_TRUE(getpid() == 0);
        assert_alarm("assert_true_prints_expression", "getpid() == 0 is false");
}

TEST(assert_ok_prints_error) {
        if (is_inner())
                ASSERT_OK(-ENOENT);
        assert_alarm("assert_ok_prints_error",
                     "-ENOENT failed: -ENOENT (No such file or directory)");
}

TEST(assert_error_wants_this_error) {
        if (is_inner())
                ASSERT_ERROR(-ENOENT, ESTALE);
        assert_alarm("assert_error_wants_this_error",
                     "gave -ENOENT (No such file or directory), expected -ESTALE");
}

TEST(assert_error_refuses_success) {
        if (is_inner())
                ASSERT_ERROR(0, EIO);
        assert_alarm("assert_error_refuses_success", "gave 0, expected -EIO");
}

TEST(assert_streq_prints_both) {
        if (is_inner())
                ASSERT_STREQ("one\n", "two");
        assert_alarm("assert_streq_prints_both", "left  \"one\\n\"\n#   right \"two\"");
}

TEST(assert_streq_tells_null_from_empty) {
        const char *volatile none = NULL;

        if (is_inner())
                ASSERT_STREQ(none, "");
        assert_alarm("assert_streq_tells_null_from_empty", "left  NULL\n#   right \"\"");
}

TEST(assert_mem_shows_difference) {
        if (is_inner())
                ASSERT_MEM("0123456789", "01234X6789", 10);
        assert_alarm("assert_mem_shows_difference", "byte 5 of 10 differs");
}

TEST(assert_null_and_not_null_fail) {
        void *volatile p = NULL;

        if (is_inner())
                ASSERT_NOT_NULL(p);
        assert_alarm("assert_null_and_not_null_fail", "p is NULL");
}

TEST(place_is_printed) {
        if (is_inner())
                ASSERT_FALSE(getpid() > 0);
        assert_alarm("place_is_printed", "# tests/unit/test-test.c:");
}

TEST(leak_fails) {
        if (is_inner()) {
                ASSERT_NOT_NULL(mem_alloc(100));
                return;
        }
        assert_alarm("leak_fails", "# leaked 1");
}

TEST(open_descriptor_fails) {
        if (is_inner()) {
                ASSERT_OK(open("/dev/null", O_RDONLY | O_CLOEXEC));
                return;
        }
        assert_alarm("open_descriptor_fails", "-> /dev/null");
}

TEST(signal_fails_with_name) {
        if (is_inner())
                kill(getpid(), SIGKILL);
        assert_alarm("signal_fails_with_name", "# signal_fails_with_name was killed by SIGKILL");
}

TEST(exit_in_case_fails) {
        if (is_inner())
                exit(EXIT_SUCCESS);
        assert_alarm("exit_in_case_fails", "called exit()");
}

TEST(timeout_kills_what_case_started, .timeout_sec = 20) {
        if (is_inner()) {
                pid_t pid = fork();

                for (;;)
                        pause();
                ASSERT_GE(pid, 0);
        }
        /* The read of the output ends only when the grandchild is dead as well: it holds the
         * pipe. */
        setenv("DRMQ_TEST_TIMEOUT", "1", /* overwrite= */ 1);
        assert_alarm("timeout_kills_what_case_started", "took longer than 1 s and was killed");
}

static void *fail_in_thread(void *arg) {
        ASSERT_NULL(arg);
        return NULL;
}

TEST(assert_in_thread_fails_case) {
        pthread_t thread;
        int not_null;

        if (is_inner()) {
                ASSERT_EQ(pthread_create(&thread, NULL, fail_in_thread, &not_null), 0);
                pthread_join(thread, NULL);
                return;
        }
        assert_alarm("assert_in_thread_fails_case", "not NULL");
}

TEST(leak_in_sweep_names_request) {
        if (is_inner()) {
                void *volatile a = NULL, *volatile b = NULL;

                FAULT_SWEEP {
                        a = mem_alloc(8);
                        b = mem_alloc(8);
                        if (a && !b)
                                continue; /* and forgets a */
                        mem_free(a);
                        mem_free(b);
                }
        }
        assert_alarm("leak_in_sweep_names_request", "# … while request 2 for memory failed");
}

TEST(skip_is_ok_with_reason) {
        char output[1024];

        if (is_inner())
                test_skip("not here");
        ASSERT_EQ(run_inner("skip_is_ok_with_reason", output, sizeof(output)), 0);
        ASSERT_STREQ(output, "1..1\nok 1 - skip_is_ok_with_reason # SKIP not here\n");
}

TEST(unknown_case_is_refused) {
        char output[1024];

        ASSERT_EQ(run_inner("no_such_case", output, sizeof(output)), 2);
        ASSERT_STREQ(output, "");
}

TEST(temporary_folders_are_fresh_and_removed) {
        char output[4096], path[2][256], file[512];
        struct stat st;

        if (is_inner()) {
                for (unsigned i = 0; i < 2; i++) {
                        const char *dir = test_tmpdir();
                        int fd;

                        ASSERT_EQ(rmdir(dir), 0); /* it was empty */
                        ASSERT_EQ(mkdir(dir, 0700), 0);
                        snprintf(file, sizeof(file), "%s/left-over", dir);
                        fd = ASSERT_OK(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
                        close(fd);
                        printf("# %s\n", dir);
                }
                fflush(stdout);
                kill(getpid(), SIGKILL); /* removed all the same */
        }
        ASSERT_EQ(run_inner("temporary_folders_are_fresh_and_removed", output, sizeof(output)), 1);
        ASSERT_EQ(sscanf(output, "1..1\n# %255s\n# %255s\n", path[0], path[1]), 2);
        ASSERT_FALSE(streq(path[0], path[1]));
        for (unsigned i = 0; i < 2; i++)
                ASSERT_TRUE(stat(path[i], &st) < 0 && errno == ENOENT);
        *strrchr(path[0], '/') = 0;
        ASSERT_TRUE(stat(path[0], &st) < 0 && errno == ENOENT);
}
