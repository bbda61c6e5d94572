/* SPDX-License-Identifier: Apache-2.0 */
/* Asked when somebody wants to know: it costs some system calls, and with an old kernel as many more
 * as there are hundreds of descriptors. */
#include "drmqd/usage.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FD_DIR "/proc/self/fd"

static uint64_t resident_bytes(void) {
        unsigned long n_total, n_resident;
        FILE *f = fopen("/proc/self/statm", "re");
        int n;

        if (!f)
                return 0;
        n = fscanf(f, "%lu %lu", &n_total, &n_resident);
        fclose(f);
        return n == 2 ? n_resident * (uint64_t) sysconf(_SC_PAGESIZE) : 0;
}

/* The kernel tells their number as the folder's size, since 6.2. */
static uint64_t open_files(void) {
        uint64_t n = 0;
        struct stat st;
        DIR *d;

        if (stat(FD_DIR, &st) >= 0 && st.st_size > 0)
                return (uint64_t) st.st_size;

        d = opendir(FD_DIR);
        if (!d)
                return 0;
        for (const struct dirent *e; (e = readdir(d));)
                n += e->d_name[0] != '.';
        closedir(d);
        return n > 0 ? n - 1 : 0; /* without the one that looked */
}

static usec_t usec_of(const struct timeval *t) {
        return (usec_t) t->tv_sec * USEC_PER_SEC + (usec_t) t->tv_usec;
}

void usage_read(struct broker_usage *ret) {
        struct rlimit limit;
        struct rusage u;

        assert(ret);

        *ret = (struct broker_usage){
                .resident_bytes = resident_bytes(),
                .n_files = open_files(),
        };
        if (getrusage(RUSAGE_SELF, &u) >= 0)
                ret->cpu_usec = usec_add(usec_of(&u.ru_utime), usec_of(&u.ru_stime));
        if (getrlimit(RLIMIT_NOFILE, &limit) >= 0)
                ret->n_files_max = limit.rlim_cur;
}
