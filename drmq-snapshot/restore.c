/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's directory out of an archive.
 *
 *  I1  Everything is written below DIR.partial, which is locked. It gets the file `node`, without
 *      which it is no node's directory, when all of the archive has been checked and is synced; and
 *      its name after that.
 *  I2  What was restored is a new cluster of one: new cluster id, new incarnation, no vote. The file
 *      `origin` says what it came from.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/format.h"
#include "base/fs.h"
#include "base/logging.h"
#include "drmq-snapshot/archive-in.h"
#include "drmq-snapshot/segments.h"
#include "drmq-snapshot/tool.h"
#include "io/io-posix.h"
#include "log/datadir.h"
#include "log/hardstate.h"

/* Files stay open until all are written, and are synced then: what reaches the disk meanwhile does so
 * without waiting for it, and one commit of the file system takes most of them. Past this, or as
 * many as we may have open, the oldest is synced at once. */
#define UNSYNCED_MAX 4096u
#define OTHER_FILES 32u
/* Writing to the disk begins after so many bytes. */
#define FLUSH_BYTES (UINT64_C(8) << 20)

struct restore {
        struct io *io;
        char *dir;     /* without slashes at its end */
        char *partial; /* "DIR.partial" */
        struct io_file *lock;
        bool is_ours; /* the partial folder is: it goes with us */
        const struct manifest *contents;
        struct segments segments;
        int fd; /* of the file that is being written */
        uint64_t pos;
        uint64_t flushed_pos;
        int *unsynced;
        size_t n_unsynced, n_unsynced_allocated;
        size_t n_unsynced_max;
};

static void restore_done(struct restore *d) {
        fd_close(d->fd);
        for (size_t i = 0; i < d->n_unsynced; i++)
                fd_close(d->unsynced[i]);
        mem_free(d->unsynced);
        if (d->is_ours)
                (void) fs_remove_tree(d->partial);
        segments_done(&d->segments);
        io_file_unref(d->lock);
        io_posix_free(d->io);
        mem_free(d->dir);
        mem_free(d->partial);
}

/* ---- Writing files ---- */

static int sync_oldest(struct restore *d, size_t n_left) {
        while (d->n_unsynced > n_left) {
                int r = fsync(d->unsynced[0]) < 0 ? -errno : 0;

                fd_close(d->unsynced[0]);
                d->n_unsynced--;
                memmove(d->unsynced, d->unsynced + 1, d->n_unsynced * sizeof(d->unsynced[0]));
                if (r < 0)
                        return log_error_errno(r, "Cannot sync what is in %s: %m", d->partial);
        }
        return 0;
}

static int on_contents(void *userdata, const struct manifest *m) {
        struct restore *d = userdata;

        d->contents = m;
        for (size_t i = 0; i < m->n_shards; i++) {
                _cleanup_(mem_freep) char *path =
                        mem_asprintf("%s/shard-%" PRIu64, d->partial, m->shards[i].shard);
                int r;

                r = path ? io_mkdir(d->io, path) : -ENOMEM;
                if (r < 0)
                        return log_error_errno(r, "Cannot make a folder in %s: %m", d->partial);
        }
        return segments_events.on_contents(&d->segments, m);
}

static int on_file(void *userdata, size_t i) {
        struct restore *d = userdata;
        _cleanup_(mem_freep) char *path =
                mem_asprintf("%s/%s", d->partial, d->contents->files[i].path);
        int r;

        r = segments_events.on_file(&d->segments, i);
        if (r < 0)
                return r;
        if (!path)
                return log_error_errno(-ENOMEM, "Cannot write to %s: %m", d->partial);
        d->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
        if (d->fd < 0)
                return log_error_errno(-errno, "Cannot write %s: %m", path);
        d->pos = d->flushed_pos = 0;
        return 0;
}

static int on_data(void *userdata, size_t i, const void *p, size_t n) {
        struct restore *d = userdata;
        int r;

        r = segments_events.on_data(&d->segments, i, p, n);
        if (r < 0)
                return r;
        r = fd_write_full(d->fd, p, n);
        if (r < 0)
                return log_error_errno(
                        r, "Cannot write %s/%s: %m", d->partial, d->contents->files[i].path);

        d->pos += n;
        if (d->pos - d->flushed_pos >= FLUSH_BYTES) {
                (void) sync_file_range(d->fd,
                                       (off_t) d->flushed_pos,
                                       (off_t) (d->pos - d->flushed_pos),
                                       SYNC_FILE_RANGE_WRITE);
                d->flushed_pos = d->pos;
        }
        return 0;
}

static int on_file_end(void *userdata, size_t i) {
        struct restore *d = userdata;
        int r;

        r = segments_events.on_file_end(&d->segments, i);
        if (r < 0)
                return r;
        (void) sync_file_range(d->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        if (!grow(d->unsynced, d->n_unsynced_allocated, d->n_unsynced + 1))
                return log_error_errno(-ENOMEM, "Cannot sync what is in %s: %m", d->partial);
        d->unsynced[d->n_unsynced++] = TAKE_FD(d->fd);
        return sync_oldest(d, d->n_unsynced_max);
}

static const struct archive_events restore_events = {
        .on_contents = on_contents,
        .on_file = on_file,
        .on_data = on_data,
        .on_file_end = on_file_end,
};

/* ---- The directory ---- */

/* An existing DIR may be an empty folder. */
static int check_target(struct io *io, const char *dir) {
        struct stat st;
        char **names;
        size_t n;
        int r;

        if (lstat(dir, &st) < 0)
                return errno == ENOENT ? 0 : log_error_errno(-errno, "Cannot use %s: %m", dir);
        if (!S_ISDIR(st.st_mode))
                return log_error_errno(-ENOTDIR, "%s is there, and no folder", dir);

        r = io_list(io, dir, &names, &n);
        if (r < 0)
                return log_error_errno(r, "Cannot use %s: %m", dir);
        io_names_free(names, n);
        return n > 0 ? log_error_errno(-ENOTEMPTY, "%s is not empty: nothing was restored", dir)
                     : 0;
}

static int lock_partial(struct restore *d, const char *path) {
        int r;

        r = io_open(d->io, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE, &d->lock);
        if (r == -EEXIST)
                r = io_open(d->io, path, IO_OPEN_READ | IO_OPEN_WRITE, &d->lock);
        return r < 0 ? r : io_lock(d->lock);
}

/* Whether it is what a restore before this one left: it has the lock, or nothing yet. */
static bool is_left_over(struct restore *d, const char *lock) {
        struct stat st;
        char **names;
        size_t n;

        if (lstat(d->partial, &st) < 0 || !S_ISDIR(st.st_mode))
                return false;
        if (lstat(lock, &st) >= 0)
                return S_ISREG(st.st_mode);
        if (io_list(d->io, d->partial, &names, &n) < 0)
                return false;
        io_names_free(names, n);
        return n == 0;
}

/* All but the lock, which is held. */
static int empty_partial(struct restore *d) {
        char **names;
        size_t n;
        int r;

        r = io_list(d->io, d->partial, &names, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < n; i++) {
                _cleanup_(mem_freep) char *path = NULL;

                if (streq(names[i], "lock"))
                        continue;
                path = mem_asprintf("%s/%s", d->partial, names[i]);
                r = path ? fs_remove_tree(path) : -ENOMEM;
        }
        io_names_free(names, n);
        return r;
}

/* Makes the partial folder; one that a kill left is taken over. */
static int make_partial(struct restore *d) {
        _cleanup_(mem_freep) char *lock = mem_asprintf("%s/lock", d->partial);
        int r;

        if (!lock)
                return log_error_errno(-ENOMEM, "Cannot restore: %m");
        r = io_mkdir(d->io, d->partial);
        if (r == -EEXIST) {
                if (!is_left_over(d, lock))
                        return log_error_errno(r, "%s is in the way: remove it", d->partial);
                r = 0;
        }
        if (r >= 0)
                r = lock_partial(d, lock);
        if (r == -EBUSY)
                return log_error_errno(r, "Another process is restoring to %s", d->partial);
        if (r >= 0) {
                d->is_ours = true;
                r = empty_partial(d);
        }
        return r < 0 ? log_error_errno(r, "Cannot make %s: %m", d->partial) : 0;
}

static int write_hardstates(struct restore *d) {
        for (size_t i = 0; i < d->contents->n_shards; i++) {
                const struct manifest_shard *s = d->contents->shards + i;
                _cleanup_(mem_freep) char *dir =
                        mem_asprintf("%s/shard-%" PRIu64, d->partial, s->shard);
                _cleanup_(mem_freep) char *path = dir ? mem_asprintf("%s/hardstate", dir) : NULL;
                int r;

                if (!path)
                        return -ENOMEM;
                r = hardstate_create(
                        d->io, path, &(struct hardstate){ .sequence = 1, .term = s->term });
                if (r >= 0)
                        r = io_sync_dir(d->io, dir);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* I2: what it came from, as it stood in the archive. */
static int write_origin(struct restore *d, const struct manifest *m) {
        _cleanup_(mem_freep) char *path = mem_asprintf("%s/origin", d->partial);
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        struct byte_writer w;
        int r;

        if (!path)
                return -ENOMEM;
        byte_writer_init(&w, MANIFEST_BYTES_MAX);
        r = manifest_format(m, &w);
        if (r >= 0)
                r = io_open(d->io, path, IO_OPEN_WRITE | IO_OPEN_CREATE, &file);
        if (r >= 0)
                r = io_pwrite(file, w.data, w.size, /* pos= */ 0);
        if (r >= 0)
                r = io_fdatasync(file);
        byte_writer_done(&w);
        return r;
}

static char *parent_of(const char *path) {
        const char *slash = strrchr(path, '/');

        return !slash          ? mem_strdup(".")
               : slash == path ? mem_strdup("/")
                               : mem_strndup(path, (size_t) (slash - path));
}

/* I1: all that is left once the archive is known to be good. */
static int finish(struct restore *d, const struct manifest *m, struct node_identity *ret) {
        _cleanup_(mem_freep) char *incoming = mem_asprintf("%s/incoming", d->partial);
        _cleanup_(mem_freep) char *parent = parent_of(d->dir);
        uint64_t *shards;
        int r;

        shards = new (uint64_t, m->n_shards + 1);
        if (!incoming || !parent || !shards) {
                mem_free(shards);
                return -ENOMEM;
        }
        for (size_t i = 0; i < m->n_shards; i++)
                shards[i] = m->shards[i].shard;

        r = write_hardstates(d);
        if (r >= 0)
                r = write_origin(d, m);
        if (r >= 0)
                r = io_mkdir(d->io, incoming);
        if (r >= 0)
                r = io_sync_dir(d->io, d->partial);
        if (r >= 0)
                r = datadir_make_node(d->io, d->partial, m->node_id, shards, m->n_shards, ret);
        mem_free(shards);
        if (r < 0)
                return r;
        if (rename(d->partial, d->dir) < 0) /* only an empty folder is replaced */
                return -errno;

        d->is_ours = false;
        return io_sync_dir(d->io, parent);
}

static int show(const struct restore *d,
                const struct manifest *m,
                const struct node_identity *id,
                enum output_form form) {
        static const struct output_column columns[] = {
                { "Restored", "name", OUTPUT_TEXT },
                { "Directory", "data_dir", OUTPUT_TEXT },
                { "Created", "created", OUTPUT_TIME },
                { "Node", "node", OUTPUT_NUMBER },
                { "New cluster", "cluster_id", OUTPUT_TEXT },
                { "From cluster", "origin_cluster_id", OUTPUT_TEXT },
                { "Files", "files", OUTPUT_NUMBER },
                { "Size", "bytes", OUTPUT_BYTES },
        };
        _cleanup_(output_freep) struct output *o = NULL;
        char text[FORMAT_MAX];
        int r;

        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_RECORD, &o);
        if (r < 0)
                return log_error_errno(r, "Cannot show it: %m");
        output_text(o, m->name);
        output_text(o, d->dir);
        output_time(o, m->created_ms);
        output_number(o, m->node_id);
        output_text(o, format_id128(text, id->cluster_id));
        output_text(o, format_id128(text, m->cluster_id));
        output_number(o, m->n_files);
        output_number(o, m->n_bytes);
        r = output_print(o, form, STDOUT_FILENO);
        return r < 0 ? log_error_errno(r, "Cannot write to stdout: %m") : 0;
}

static size_t count_files_allowed(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 0;
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit); /* else it stays as it was */
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < OTHER_FILES)
                return 0;
        return (size_t) MIN(limit.rlim_cur - OTHER_FILES, (rlim_t) UNSYNCED_MAX);
}

static int restore(struct restore *d, const char *file, const struct tool *t) {
        _cleanup_(archive_reader_freep) struct archive_reader *reader = NULL;
        const struct manifest *m;
        struct node_identity id;
        struct progress progress;
        size_t n;
        int r;

        n = strlen(t->data_dir);
        while (n > 1 && t->data_dir[n - 1] == '/')
                n--;
        d->dir = mem_strndup(t->data_dir, n);
        d->partial = d->dir ? mem_asprintf("%s.partial", d->dir) : NULL;
        r = d->partial ? io_posix_new(/* root= */ NULL, &d->io) : -ENOMEM;
        if (r < 0)
                return log_error_errno(r, "Cannot restore: %m");

        d->n_unsynced_max = count_files_allowed();
        r = check_target(d->io, d->dir);
        if (r >= 0)
                r = make_partial(d);
        if (r < 0)
                return r;

        progress_init(&progress, t->progress ? PROGRESS_ALWAYS : PROGRESS_NEVER, "files", 0);
        r = archive_in_read(file, &restore_events, d, &progress, &reader);
        if (r >= 0)
                r = segments_end(&d->segments);
        if (r >= 0)
                r = sync_oldest(d, 0);
        if (r < 0)
                return r;

        m = archive_reader_manifest(reader);
        r = finish(d, m, &id);
        if (r == -ENOTEMPTY || r == -EEXIST)
                return log_error_errno(r, "%s is not empty: nothing was restored", d->dir);
        if (r < 0)
                return log_error_errno(r, "Cannot finish %s: %m", d->partial);
        return show(d, m, &id, t->form);
}

int restore_run(char **args, _unused_ size_t n_args, void *userdata) {
        struct restore d = { .fd = -EBADF };
        int r;

        r = restore(&d, args[0], userdata);
        restore_done(&d);
        return r;
}
