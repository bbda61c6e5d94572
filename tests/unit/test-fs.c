/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/fs.h. */

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "tests/lib/test.h"

static const char *path_in(char dest[static 512], const char *dir, const char *name) {
        snprintf(dest, 512, "%s/%s", dir, name);
        return dest;
}

static void write_file(const char *path, const void *p, size_t n) {
        _cleanup_(fd_closep) int fd =
                ASSERT_OK(open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));

        ASSERT_OK(fd_write_full(fd, p, n));
}

TEST(close_takes_no_descriptor) {
        int fd = ASSERT_OK(open("/dev/null", O_RDONLY | O_CLOEXEC));

        ASSERT_EQ(fd_close(fd), -EBADF);
        ASSERT_EQ(fcntl(fd, F_GETFD), -1);
        ASSERT_EQ(fd_close(-EBADF), -EBADF);
}

TEST(closed_standard_streams_are_held) {
        const pid_t child = ASSERT_OK(fork());
        int status;

        if (child == 0) {
                char c;
                bool ok;

                (void) close(STDIN_FILENO);
                (void) close(STDOUT_FILENO);
                (void) close(STDERR_FILENO);
                ok = fd_hold_standard() == 0 && read(STDIN_FILENO, &c, 1) < 0 && errno == EBADF &&
                     write(STDOUT_FILENO, "x", 1) < 0 && errno == EBADF &&
                     write(STDERR_FILENO, "x", 1) == 1 &&
                     open("/dev/null", O_RDONLY | O_CLOEXEC) > STDERR_FILENO;
                _exit(ok ? 0 : 1);
        }

        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_EQ(status, 0);
}

TEST(open_standard_streams_stay) {
        struct stat before[3], after;

        for (int fd = 0; fd < 3; fd++)
                ASSERT_OK(fstat(fd, &before[fd]));
        ASSERT_OK(fd_hold_standard());
        for (int fd = 0; fd < 3; fd++) {
                ASSERT_OK(fstat(fd, &after));
                ASSERT_EQ(after.st_ino, before[fd].st_ino);
        }
}

TEST(positions_are_kept) {
        char path[512], content[16];
        _cleanup_(fd_closep) int fd = -EBADF;

        fd = ASSERT_OK(
                open(path_in(path, test_tmpdir(), "file"), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
        ASSERT_OK(fd_pwrite_full(fd, "world", 5, 6));
        ASSERT_OK(fd_pwrite_full(fd, "hello ", 6, 0));
        ASSERT_OK(fd_pwrite_full(fd, "", 0, 100));
        ASSERT_EQ(fd_pread_full(fd, content, 5, 3), 5);
        ASSERT_MEM(content, "lo wo", 5);
        ASSERT_EQ(fd_pread_full(fd, content, sizeof(content), 6), 5); /* fewer only at the end */
        ASSERT_MEM(content, "world", 5);
        ASSERT_EQ(fd_pread_full(fd, content, 1, 11), 0);
}

TEST(errors_are_reported) {
        char content[1];
        _cleanup_(fd_closep) int fd = ASSERT_OK(open("/dev/null", O_WRONLY | O_CLOEXEC)),
                                 full = ASSERT_OK(open("/dev/full", O_WRONLY | O_CLOEXEC)),
                                 read_only = ASSERT_OK(open("/dev/null", O_RDONLY | O_CLOEXEC));

        ASSERT_ERROR((int) fd_pread_full(fd, content, 1, 0), EBADF);
        ASSERT_ERROR(fd_write_full(full, "x", 1), ENOSPC);
        ASSERT_ERROR(fd_pwrite_full(full, "x", 1, 0), ENOSPC);
        ASSERT_ERROR(fd_write_full(read_only, "x", 1), EBADF);
        ASSERT_ERROR(fd_pwrite_full(read_only, "x", 1, 0), EBADF);
}

struct drain {
        int fd;
        pthread_t writer;
};

static void on_signal(int signal_number) {
        (void) signal_number;
}

/* Reads all, and disturbs the writer each time. */
static void *drain(void *arg) {
        struct drain *d = arg;
        char part[1000];
        size_t n = 0;
        ssize_t k;

        while ((k = read(d->fd, part, sizeof(part))) > 0) {
                for (ssize_t i = 0; i < k; i++, n++)
                        if (part[i] != (char) (n * 7))
                                return "differs";
                if (n < 900000) /* it is still in its write: a pipe holds 64 KiB */
                        pthread_kill(d->writer, SIGUSR1);
        }
        return n == 1000000 ? NULL : "short";
}

TEST(write_goes_on_after_signals) {
        struct drain d = { .writer = pthread_self() };
        _cleanup_(mem_freep) char *p = mem_alloc(1000000);
        void *complaint = NULL;
        pthread_t thread;
        int fds[2];

        for (size_t i = 0; i < 1000000; i++)
                p[i] = (char) (i * 7);
        /* Without SA_RESTART: a write is cut short, or EINTR where it took nothing yet. */
        ASSERT_EQ(sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = on_signal }, NULL), 0);
        ASSERT_EQ(pipe(fds), 0);
        d.fd = fds[0];
        ASSERT_EQ(pthread_create(&thread, NULL, drain, &d), 0);
        ASSERT_OK(fd_write_full(fds[1], p, 1000000));
        fd_close(fds[1]);
        ASSERT_EQ(pthread_join(thread, &complaint), 0);
        ASSERT_STREQ(complaint, NULL);
        fd_close(fds[0]);
}

TEST(write_past_size_limit_says_so_after_short_one) {
        char path[512], content[20] = { 0 };
        _cleanup_(fd_closep) int fd = -EBADF;

        signal(SIGXFSZ, SIG_IGN);
        ASSERT_EQ(setrlimit(RLIMIT_FSIZE,
                            &(struct rlimit){ .rlim_cur = 10, .rlim_max = RLIM_INFINITY }),
                  0);
        fd = ASSERT_OK(
                open(path_in(path, test_tmpdir(), "file"), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
        ASSERT_ERROR(fd_pwrite_full(fd, content, 20, 0), EFBIG); /* ten bytes are taken first */
        ASSERT_EQ(lseek(fd, 0, SEEK_END), 10);
}

TEST(whole_file_is_read) {
        char path[512];
        char *content = NULL;
        size_t n = 77;

        path_in(path, test_tmpdir(), "file");
        ASSERT_ERROR(fs_read_file(path, 100, &content, &n), ENOENT);

        write_file(path, "a\0b", 3);
        ASSERT_ERROR(fs_read_file(path, 2, &content, &n), EFBIG);
        ASSERT_NULL(content);
        ASSERT_EQ(n, 77);
        ASSERT_OK(fs_read_file(path, 3, &content, &n));
        ASSERT_EQ(n, 3);
        ASSERT_MEM(content, "a\0b", 4);
        content = mem_free(content);

        write_file(path, "", 0);
        ASSERT_OK(fs_read_file(path, 0, &content, NULL));
        ASSERT_STREQ(content, "");
        content = mem_free(content);
}

TEST(file_of_any_size_gets_its_nul) {
        char path[512], bytes[300];

        path_in(path, test_tmpdir(), "file");
        memset(bytes, 'x', sizeof(bytes));
        for (size_t size = 0; size < sizeof(bytes); size++) {
                _cleanup_(mem_freep) char *content = NULL;

                write_file(path, bytes, size);
                ASSERT_OK(fs_read_file(path, sizeof(bytes), &content, NULL));
                ASSERT_EQ(strlen(content), size);
                ASSERT_GT(malloc_usable_size(content), size);
        }
}

TEST(file_without_size_is_read) {
        _cleanup_(mem_freep) char *content = NULL;
        size_t n;

        ASSERT_OK(fs_read_file("/proc/self/status", 1 << 20, &content, &n));
        ASSERT_EQ(n, strlen(content));
        ASSERT_NOT_NULL(strstr(content, "Pid:"));
        content = mem_free(content);
        ASSERT_ERROR(fs_read_file("/proc/self/status", 100, &content, &n), EFBIG);
        ASSERT_ERROR(fs_read_file("/", 100, &content, &n), EISDIR);
}

TEST(read_without_memory_leaves_nothing) {
        char path[512];

        path_in(path, test_tmpdir(), "file");
        write_file(path, "abc", 3);
        FAULT_SWEEP {
                _cleanup_(mem_freep) char *content = NULL;
                int r = fs_read_file(path, 100, &content, NULL);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(content);
                        continue;
                }
                ASSERT_STREQ(content, "abc");
        }
}

TEST(missing_folders_are_made) {
        const char *dir = test_tmpdir();
        char path[512], file[512];
        struct stat st;

        umask(022);
        ASSERT_OK(fs_mkdir_parents(path_in(path, dir, "a/b//c/"), 0750));
        ASSERT_EQ(stat(path, &st), 0);
        ASSERT_EQ(st.st_mode & 07777, 0750);
        ASSERT_OK(fs_mkdir_parents(path, 0700)); /* is there */
        ASSERT_EQ(stat(path, &st), 0);
        ASSERT_EQ(st.st_mode & 07777, 0750);

        ASSERT_EQ(chdir(dir), 0);
        ASSERT_OK(fs_mkdir_parents("relative/x", 0700));
        ASSERT_EQ(stat("relative/x", &st), 0);
        ASSERT_OK(fs_mkdir_parents("/", 0700));
        ASSERT_ERROR(fs_mkdir_parents("", 0700), ENOENT);

        write_file(path_in(file, dir, "file"), "x", 1);
        ASSERT_ERROR(fs_mkdir_parents(file, 0700), ENOTDIR);
        ASSERT_ERROR(fs_mkdir_parents(path_in(path, dir, "file/x"), 0700), ENOTDIR);
}

TEST(sync_of_folder) {
        char path[512];
        const char *dir = test_tmpdir();

        ASSERT_OK(fs_sync_dir(dir));
        ASSERT_ERROR(fs_sync_dir(path_in(path, dir, "none")), ENOENT);
        write_file(path, "x", 1);
        ASSERT_ERROR(fs_sync_dir(path), ENOTDIR);
}

TEST(tree_is_removed_and_links_are_not_followed) {
        const char *dir = test_tmpdir();
        char tree[512], path[512], kept[512];
        struct stat st;

        ASSERT_OK(fs_mkdir_parents(path_in(path, dir, "tree/a/b"), 0700));
        write_file(path_in(path, dir, "tree/a/file"), "x", 1);
        write_file(path_in(path, dir, "tree/a/b/.hidden"), "x", 1);
        ASSERT_OK(fs_mkdir_parents(path_in(path, dir, "outside"), 0700));
        write_file(path_in(kept, dir, "outside/kept"), "x", 1);
        ASSERT_EQ(symlink("../../outside", path_in(path, dir, "tree/a/link")), 0);

        ASSERT_OK(fs_remove_tree(path_in(tree, dir, "tree")));
        ASSERT_TRUE(stat(tree, &st) < 0 && errno == ENOENT);
        ASSERT_EQ(stat(kept, &st), 0);
        ASSERT_ERROR(fs_remove_tree(tree), ENOENT);
        ASSERT_OK(fs_remove_tree(kept)); /* a file is a tree too */
        ASSERT_TRUE(stat(kept, &st) < 0 && errno == ENOENT);
}
