/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Runs the cases of a unit test program, each in a child process, and says in TAP what became of
 * them.
 *
 * I1: what a case leaves behind (processes, temporary folders) is cleaned up by the parent, so also
 * when it crashed. I2: "ok" is printed by the parent only, and only for a child that came to its
 * end and exited 0.
 */

#include "tests/lib/test.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"

#define TMPDIRS_MAX 64u
#define REASON_MAX 256u

/* What parent and child of a case share. */
struct shared {
        bool skipped; /* test_skip() was called: @reason says why */
        bool ended;   /* the case came to its end */
        char reason[REASON_MAX];
        char tmpdir[PATH_MAX]; /* of this case, empty: none was asked for */
};

extern const struct test_case __start_drmq_test_cases[], __stop_drmq_test_cases[];

static struct shared *shared;
static unsigned n_tmpdirs;
static char tmpdirs[TMPDIRS_MAX][PATH_MAX];
/* The request that the running FAULT_SWEEP lets fail; 0: no sweep. */
static atomic_uint_fast64_t sweep_n;

static _noreturn_ void leave_failed(void) {
        uint64_t n = atomic_load(&sweep_n);

        if (n > 0)
                printf("# … while request %llu for memory failed in FAULT_SWEEP\n",
                       (unsigned long long) n);
        fflush(NULL);
        _exit(EXIT_FAILURE);
}

void test_fail(const char *file, int line, const char *format, ...) {
        va_list ap;

        printf("# %s:%d: ", file, line);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
        leave_failed();
}

static const char *format_int(char dest[static 48], __int128 v) {
        uint64_t magnitude = (uint64_t) (v < 0 ? -v : v);

        if (v > 0xffff)
                snprintf(dest,
                         48,
                         "%llu (0x%llx)",
                         (unsigned long long) magnitude,
                         (unsigned long long) magnitude);
        else
                snprintf(dest, 48, "%s%llu", v < 0 ? "-" : "", (unsigned long long) magnitude);
        return dest;
}

void test_fail_int(const char *file, int line, const char *expression, __int128 a, __int128 b) {
        char left[48], right[48];

        test_fail(file,
                  line,
                  "%s does not hold: left %s, right %s",
                  expression,
                  format_int(left, a),
                  format_int(right, b));
}

static const char *format_result(char dest[static 64], int64_t r) {
        const char *name = r < 0 && r > INT_MIN ? strerrorname_np((int) -r) : NULL;

        if (name)
                snprintf(dest, 64, "-%s (%s)", name, strerrordesc_np((int) -r));
        else
                snprintf(dest, 64, "%lld", (long long) r);
        return dest;
}

void test_fail_result(const char *file, int line, const char *expression, int64_t r, int expected) {
        char got[64], want[64];

        if (expected == 0)
                test_fail(file, line, "%s failed: %s", expression, format_result(got, r));
        test_fail(file,
                  line,
                  "%s gave %s, expected %s",
                  expression,
                  format_result(got, r),
                  format_result(want, -(int64_t) expected));
}

/* A string on one line of a TAP diagnostic. */
static void print_quoted(const char *s) {
        if (!s) {
                printf("NULL");
                return;
        }

        putchar('"');
        for (; *s; s++)
                if (*s == '\n')
                        printf("\\n");
                else if (*s == '"' || *s == '\\')
                        printf("\\%c", *s);
                else if ((unsigned char) *s < ' ')
                        printf("\\x%02x", (unsigned char) *s);
                else
                        putchar(*s);
        putchar('"');
}

void test_assert_streq(
        const char *file, int line, const char *expression, const char *a, const char *b) {
        if (a == b || (a && b && streq(a, b)))
                return;

        printf("# %s:%d: %s does not hold:\n#   left  ", file, line, expression);
        print_quoted(a);
        printf("\n#   right ");
        print_quoted(b);
        putchar('\n');
        leave_failed();
}

static void print_hex(const char *label, const uint8_t *p, size_t from, size_t to, size_t at) {
        printf("#   %s", label);
        for (size_t i = from; i < to; i++)
                printf(i == at ? " [%02x]" : " %02x", p[i]);
        putchar('\n');
}

void test_assert_mem(const char *file,
                     int line,
                     const char *expression,
                     const void *a,
                     const void *b,
                     size_t n) {

        const uint8_t *left = a, *right = b;
        size_t at = 0, from, to;

        if (n == 0 || (a && b && memcmp(a, b, n) == 0))
                return;
        if (!a || !b)
                test_fail(file, line, "%s does not hold: left %p, right %p", expression, a, b);

        while (left[at] == right[at])
                at++;
        from = at < 8 ? 0 : at - 8;
        to = MIN(n, at + 8);

        printf("# %s:%d: %s does not hold: byte %zu of %zu differs, here from %zu on:\n",
               file,
               line,
               expression,
               at,
               n,
               from);
        print_hex("left ", left, from, to, at);
        print_hex("right", right, from, to, at);
        leave_failed();
}

void test_skip(const char *reason) {
        shared->skipped = true;
        snprintf(shared->reason, sizeof(shared->reason), "%s", reason);
        fflush(NULL);
        _exit(EXIT_SUCCESS);
}

const char *test_tmpdir(void) {
        char *path;

        if (n_tmpdirs == TMPDIRS_MAX)
                test_fail(
                        __FILE__, __LINE__, "More than %u test_tmpdir() in one case", TMPDIRS_MAX);

        if (!shared->tmpdir[0]) {
                const char *parent = getenv("TMPDIR");
                char template[PATH_MAX];

                snprintf(template,
                         sizeof(template),
                         "%s/drmq-test-XXXXXX",
                         parent && *parent ? parent : "/tmp");
                if (!mkdtemp(template))
                        test_fail(__FILE__,
                                  __LINE__,
                                  "Cannot create %s: %s",
                                  template,
                                  strerror(errno));
                memcpy(shared->tmpdir, template, sizeof(template));
        }

        path = tmpdirs[n_tmpdirs++];
        if (snprintf(path, PATH_MAX, "%s/%u", shared->tmpdir, n_tmpdirs) >= PATH_MAX)
                test_fail(__FILE__, __LINE__, "Path of the temporary folder is too long");
        if (mkdir(path, 0700) < 0)
                test_fail(__FILE__, __LINE__, "Cannot create %s: %s", path, strerror(errno));
        return path;
}

bool fault_sweep_next(struct fault_sweep *s) {
        bool first = s->n == 0, fired = mem_fail_at(0);

        if (first)
                s->bytes_before = mem_bytes();
        else if (mem_bytes() != s->bytes_before)
                test_fail(
                        s->file,
                        s->line,
                        "a run of the sweep leaked: %zu bytes were allocated before, %zu are after",
                        s->bytes_before,
                        mem_bytes());

        if (!first && !fired)
                return false;

        s->n++;
        atomic_store(&sweep_n, s->n);
        (void) mem_fail_at(s->n);
        return true;
}

void fault_sweep_done(struct fault_sweep *s) {
        (void) s;
        (void) mem_fail_at(0);
        atomic_store(&sweep_n, 0);
}

static unsigned count_descriptors(void) {
        DIR *d = opendir("/proc/self/fd");
        unsigned n = 0;

        if (!d)
                return 0;
        for (struct dirent *e; (e = readdir(d));)
                n += e->d_name[0] != '.';
        closedir(d);
        return n;
}

static void print_descriptors(void) {
        DIR *d = opendir("/proc/self/fd");
        char target[PATH_MAX];

        if (!d)
                return;
        for (struct dirent *e; (e = readdir(d));) {
                ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);

                if (n < 0 || atoi(e->d_name) == dirfd(d))
                        continue;
                target[n] = 0;
                printf("#   %s -> %s\n", e->d_name, target);
        }
        closedir(d);
}

static _noreturn_ void run_child(const struct test_case *t) {
        size_t bytes_before = mem_bytes(), bytes_after;
        unsigned fds_before = count_descriptors(), fds_after;

        t->run();

        fflush(NULL);
        bytes_after = mem_bytes();
        if (bytes_after != bytes_before) {
                printf("# leaked %lld bytes of base/alloc.h\n",
                       (long long) bytes_after - (long long) bytes_before);
                leave_failed();
        }

        fds_after = count_descriptors();
        if (fds_after != fds_before) {
                printf("# open descriptors: %u before, %u after:\n", fds_before, fds_after);
                print_descriptors();
                leave_failed();
        }

        shared->ended = true;
        exit(EXIT_SUCCESS); /* not _exit(): sanitizers and coverage have their say at exit */
}

static unsigned timeout_of(const struct test_case *t) {
        const char *e = getenv("DRMQ_TEST_TIMEOUT");

        if (e && *e)
                return (unsigned) atoi(e);
        return t->timeout_sec > 0 ? t->timeout_sec : TEST_TIMEOUT_SEC_DEFAULT;
}

/* Waits for the child to end. Return: whether it did in time; else it is dead now, with all it
 * started. */
static bool wait_for(pid_t pid, unsigned timeout_sec, int *ret_status) {
        struct timespec deadline, now, left;
        sigset_t set;
        bool in_time = true;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        clock_gettime(CLOCK_MONOTONIC, &deadline);
        deadline.tv_sec += timeout_sec;

        for (;;) {
                pid_t p = waitpid(pid, ret_status, in_time && timeout_sec > 0 ? WNOHANG : 0);

                if (p == pid)
                        break;
                if (p < 0 && errno != EINTR) {
                        perror("waitpid");
                        exit(EXIT_FAILURE);
                }

                clock_gettime(CLOCK_MONOTONIC, &now);
                left = (struct timespec){ deadline.tv_sec - now.tv_sec,
                                          deadline.tv_nsec - now.tv_nsec };
                if (left.tv_nsec < 0) {
                        left.tv_sec--;
                        left.tv_nsec += 1000000000;
                }
                if (left.tv_sec < 0) {
                        in_time = false;
                        (void) kill(-pid, SIGKILL);
                        continue;
                }
                (void) sigtimedwait(&set, NULL, &left);
        }

        /* I1: what it started and did not wait for; ESRCH where there is nothing. */
        (void) kill(-pid, SIGKILL);
        return in_time;
}

/* Return: whether the case passed. */
static bool run_case(const struct test_case *t, unsigned number, const sigset_t *mask) {
        unsigned timeout_sec = timeout_of(t);
        bool in_time, passed;
        int status = 0, r;
        pid_t pid;

        memset(shared, 0, sizeof(*shared));
        fflush(NULL);

        pid = fork();
        if (pid < 0) {
                perror("fork");
                exit(EXIT_FAILURE);
        }
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) setpgid(0, 0);
                (void) sigprocmask(SIG_SETMASK, mask, NULL);
                run_child(t);
        }
        (void) setpgid(pid, pid); /* the child does it too: whoever is first */

        in_time = wait_for(pid, timeout_sec, &status);
        if (!in_time)
                printf("# %s took longer than %u s and was killed\n", t->name, timeout_sec);
        else if (WIFSIGNALED(status))
                printf("# %s was killed by SIG%s\n",
                       t->name,
                       sigabbrev_np(WTERMSIG(status)) ?: "?");
        else if (WEXITSTATUS(status) > EXIT_FAILURE)
                printf("# %s left with status %d\n", t->name, WEXITSTATUS(status));
        else if (WEXITSTATUS(status) == 0 && !shared->ended && !shared->skipped)
                printf("# %s called exit()\n", t->name);

        if (shared->tmpdir[0]) {
                r = fs_remove_tree(shared->tmpdir);
                if (r < 0)
                        printf("# Cannot remove %s: %s\n", shared->tmpdir, strerror(-r));
        }

        passed = in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                 (shared->ended || shared->skipped); /* I2 */
        printf("%sok %u - %s", passed ? "" : "not ", number, t->name);
        if (passed && shared->skipped)
                printf(" # SKIP %s", shared->reason);
        putchar('\n');
        fflush(stdout);
        return passed;
}

static int compare_lines(const void *a, const void *b) {
        const struct test_case *const *x = a, *const *y = b;

        return (*x)->line < (*y)->line ? -1 : (*x)->line > (*y)->line;
}

int main(int argc, char *argv[]) {
        size_t n_cases = (size_t) (__stop_drmq_test_cases - __start_drmq_test_cases), n = 0;
        const struct test_case **cases = calloc(n_cases, sizeof(*cases));
        sigset_t set, mask;
        bool passed = true;

        if (!cases) {
                perror("calloc");
                return EXIT_FAILURE;
        }
        for (size_t i = 0; i < n_cases; i++)
                if (argc < 2 || streq(argv[1], __start_drmq_test_cases[i].name))
                        cases[n++] = __start_drmq_test_cases + i;
        if (argc > 1 && n == 0) {
                fprintf(stderr, "%s: no case is called %s\n", argv[0], argv[1]);
                free(cases);
                return 2;
        }
        qsort(cases, n, sizeof(cases[0]), compare_lines);

        shared = mmap(
                NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED) {
                perror("mmap");
                return EXIT_FAILURE;
        }
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &set, &mask);

        printf("1..%zu\n", n);
        for (size_t i = 0; i < n; i++)
                passed = run_case(cases[i], (unsigned) i + 1, &mask) && passed;

        free(cases);
        return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}
