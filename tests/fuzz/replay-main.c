/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Feeds a fuzz corpus to a fuzz target as a plain test: each file of each folder named on the
 * command line is a case. A target has no result; what it finds, it reports by dying, so each case
 * runs in a process of its own with a time limit.
 */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CASE_SECONDS_MAX 60

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static _Noreturn void fail(const char *path, const char *what) {
        printf("# %s: %s\n", path, what);
        fflush(stdout);
        _exit(EXIT_FAILURE);
}

static _Noreturn void replay(const char *path) {
        struct stat st;
        uint8_t *data;
        size_t n;
        FILE *f;

        alarm(CASE_SECONDS_MAX);

        f = fopen(path, "re");
        if (!f || fstat(fileno(f), &st) < 0)
                fail(path, strerror(errno));

        /* The very size, so that a sanitizer sees the first byte read past the end. */
        n = (size_t) st.st_size;
        data = malloc(n > 0 ? n : 1);
        if (!data)
                fail(path, strerror(errno));
        if (fread(data, 1, n, f) != n)
                fail(path, "cannot read the whole file");
        fclose(f);

        (void) LLVMFuzzerTestOneInput(data, n);
        free(data);
        exit(EXIT_SUCCESS);
}

static int is_case(const struct dirent *d) {
        return d->d_name[0] != '.';
}

static bool case_passes(const char *path) {
        int status;
        pid_t pid;

        fflush(stdout);
        pid = fork();
        if (pid == 0)
                replay(path);
        if (pid < 0 || waitpid(pid, &status, 0) < 0) {
                printf("# %s\n", strerror(errno));
                return false;
        }
        if (WIFSIGNALED(status))
                printf("# killed by signal %d (%s)\n",
                       WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
        return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
        unsigned n_cases = 0, n_failed = 0;

        for (int i = 1; i < argc; i++) {
                struct dirent **entries;
                int n;

                n = scandir(argv[i], &entries, is_case, alphasort);
                if (n < 0) {
                        printf("Bail out! Cannot read %s: %s\n", argv[i], strerror(errno));
                        return EXIT_FAILURE;
                }

                for (int j = 0; j < n; j++) {
                        char path[PATH_MAX];
                        bool ok;

                        (void) snprintf(path, sizeof(path), "%s/%s", argv[i], entries[j]->d_name);
                        ok = case_passes(path);
                        n_failed += !ok;
                        printf("%s %u - %s\n", ok ? "ok" : "not ok", ++n_cases, path);
                        free(entries[j]);
                }
                free(entries);
        }

        printf("1..%u\n", n_cases);
        return n_failed > 0 || n_cases == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
