/* SPDX-License-Identifier: Apache-2.0 */
/* sd_listen_fds_with_names(3), with our memory. */
#include "loop/passed.h"

#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "base/alloc.h"
#include "base/fs.h"

struct passed_fd *passed_fds_free(struct passed_fd *fds, size_t n) {
        for (size_t i = 0; i < n; i++) {
                fd_close(fds[i].fd);
                mem_free(fds[i].name);
        }

        return mem_free(fds);
}

static void free_names(char **names, size_t n) {
        for (size_t i = 0; names && i < n; i++)
                free(names[i]);
        free(names);
}

int passed_fds_take(struct passed_fd **ret, size_t *ret_n) {
        struct passed_fd *fds;
        char **names = NULL;
        bool is_whole = true;
        size_t n;
        int r;

        assert(ret);
        assert(ret_n);

        r = sd_listen_fds_with_names(/* unset_environment= */ 1, &names);
        if (r < 0)
                return r;
        n = (size_t) r;

        fds = new0(struct passed_fd, n + 1);
        for (size_t i = 0; i < n; i++) {
                const int fd = SD_LISTEN_FDS_START + (int) i;

                if (!fds) {
                        fd_close(fd);
                        continue;
                }
                fds[i].fd = fd;
                fds[i].name = mem_strdup(names[i]);
                is_whole = is_whole && fds[i].name;
        }
        free_names(names, n);
        if (!fds)
                return -ENOMEM;
        if (!is_whole) {
                passed_fds_free(fds, n);
                return -ENOMEM;
        }

        *ret = fds;
        *ret_n = n;
        return 0;
}
