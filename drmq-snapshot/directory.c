/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a node that is stopped, as a source. It is opened as a node opens it: locked,
 * recovered; then each shard's open segment is closed, so that the archive holds closed ones only,
 * as that of a running node does. The lock is held until all has been read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/format.h"
#include "base/logging.h"
#include "drmq-snapshot/source.h"
#include "io/io-posix.h"
#include "log/datadir.h"
#include "log/shard-log.h"

#define CHECKPOINT_PREFIX "checkpoint-"

struct dir_source {
        struct snapshot_source source;
        struct io *io;
        struct datadir *datadir;
        /* the file that is being read */
        struct io_file *file;
        size_t file_i;
};

static void dir_source_free(struct snapshot_source *s) {
        struct dir_source *d = CONTAINER_OF(s, struct dir_source, source);

        io_file_unref(d->file);
        datadir_free(d->datadir);
        io_posix_free(d->io);
        manifest_free(s->contents);
        mem_free(d);
}

static int dir_source_read(
        struct snapshot_source *s, size_t i, uint64_t pos, void *p, size_t n_max, size_t *ret_n) {
        struct dir_source *d = CONTAINER_OF(s, struct dir_source, source);
        const char *listed = s->contents->files[i].path;
        ssize_t n;
        int r;

        if (!d->file || d->file_i != i) {
                _cleanup_(mem_freep) char *path =
                        mem_asprintf("%s/%s", datadir_path(d->datadir), listed);

                d->file = io_file_unref(d->file);
                r = path ? io_open(d->io, path, IO_OPEN_READ, &d->file) : -ENOMEM;
                if (r < 0)
                        return log_error_errno(r, "Cannot open %s: %m", listed);
                d->file_i = i;
        }
        n = io_pread(d->file, p, n_max, pos, /* flags= */ 0);
        if (n < 0)
                return log_error_errno((int) n, "Cannot read %s: %m", listed);

        *ret_n = (size_t) n;
        return 0;
}

static const struct snapshot_source_ops dir_source_ops = {
        .read = dir_source_read,
        .free = dir_source_free,
};

/* ---- Closing a shard ---- */

struct closing {
        bool is_rolled;
        int error;
        const char *what;
};

static void on_failed(void *userdata, int error, const char *what) {
        struct closing *c = userdata;

        c->error = error;
        c->what = what;
}

static void on_rolled(void *userdata, _unused_ uint64_t last_index) {
        ((struct closing *) userdata)->is_rolled = true;
}

static void on_index(_unused_ void *userdata, _unused_ uint64_t index) {}
static void on_nothing(_unused_ void *userdata) {}

static const struct shard_log_events closing_events = {
        .on_synced = on_index,
        .on_hardstate_saved = on_nothing,
        .on_truncated = on_index,
        .on_drained = on_nothing,
        .on_failed = on_failed,
        .on_rolled = on_rolled,
};

static int close_segment(struct dir_source *d, struct shard_log *log, struct closing *c) {
        int r;

        r = shard_log_roll(log);
        if (r > 0)
                return 0;
        while (r >= 0 && !c->is_rolled && c->error >= 0)
                if (io_posix_dispatch(d->io, USEC_PER_SEC) == 0)
                        r = -EIO; /* nothing is under way any more */
        return c->error < 0 ? c->error : r;
}

/* ---- The table of contents ---- */

static int note_shard(struct manifest *m, uint64_t number, const struct shard_log *log) {
        struct manifest_shard s = { .shard = number, .term = shard_log_term(log) };

        for (size_t i = 0; i < shard_log_n_segments(log); i++) {
                struct shard_log_segment g;

                shard_log_segment(log, i, &g);
                if (!g.is_closed)
                        continue;
                if (s.first_index == 0)
                        s.first_index = g.first_index;
                s.last_index = g.last_index;
        }
        return manifest_add_shard(m, &s);
}

static bool parse_index(const char *digits, size_t n, uint64_t *ret) {
        uint64_t v = 0;

        for (size_t i = 0; i < n; i++) {
                if (digits[i] < '0' || digits[i] > '9')
                        return false;
                v = v * 10 + (uint64_t) (digits[i] - '0');
        }
        *ret = v;
        return n == 20;
}

/* Whether a file of a shard belongs into the snapshot. */
static bool is_wanted(const char *name, struct manifest_shard *s) {
        const size_t n_prefix = sizeof(CHECKPOINT_PREFIX) - 1, n = strlen(name);
        uint64_t index;

        if (strncmp(name, CHECKPOINT_PREFIX, n_prefix) == 0) {
                if (!parse_index(name + n_prefix, n - n_prefix, &index) || index > s->last_index)
                        return false;
                s->checkpoint_index = MAX(s->checkpoint_index, index);
                return true;
        }
        return n == 24 && parse_index(name, 20, &index) && index >= s->first_index &&
               index <= s->last_index && (streq(name + 20, ".log") || streq(name + 20, ".idx"));
}

static int note_files(struct dir_source *d, struct manifest_shard *s) {
        _cleanup_(mem_freep) char *dir = datadir_shard_path(d->datadir, s->shard);
        char **names;
        size_t n;
        int r;

        if (!dir)
                return -ENOMEM;
        r = io_list(d->io, dir, &names, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < n; i++) {
                _cleanup_(mem_freep) char *path = NULL;
                _cleanup_(mem_freep) char *listed = NULL;
                struct io_stat st;

                if (!is_wanted(names[i], s))
                        continue;
                path = mem_asprintf("%s/%s", dir, names[i]);
                listed = mem_asprintf("shard-%" PRIu64 "/%s", s->shard, names[i]);
                r = path && listed ? io_stat(d->io, path, &st) : -ENOMEM;
                if (r >= 0)
                        r = manifest_add_file(d->source.contents, listed, st.size_bytes);
        }
        io_names_free(names, n);
        return r;
}

/* As paths are ordered: "shard-10/" before "shard-2/". */
static int compare_shards(const void *a, const void *b) {
        char x[32], y[32];
        const struct manifest_shard *const *s = a, *const *t = b;

        (void) snprintf(x, sizeof(x), "%" PRIu64 "/", (*s)->shard);
        (void) snprintf(y, sizeof(y), "%" PRIu64 "/", (*t)->shard);
        return strcmp(x, y);
}

static int note_all_files(struct dir_source *d) {
        struct manifest *m = d->source.contents;
        _cleanup_(mem_freep) struct manifest_shard **order =
                new (struct manifest_shard *, m->n_shards + 1);
        int r = 0;

        if (!order)
                return -ENOMEM;
        for (size_t i = 0; i < m->n_shards; i++)
                order[i] = m->shards + i;
        qsort(order, m->n_shards, sizeof(order[0]), compare_shards);
        for (size_t i = 0; r >= 0 && i < m->n_shards; i++)
                r = note_files(d, order[i]);
        return r;
}

static int close_shard(struct dir_source *d, uint64_t number) {
        _cleanup_(mem_freep) char *dir = datadir_shard_path(d->datadir, number);
        _cleanup_(shard_log_freep) struct shard_log *log = NULL;
        struct recovery_report report;
        struct closing c = {};
        int r;

        if (!dir)
                return log_error_errno(-ENOMEM, "Cannot open the log: %m");
        r = shard_log_open(d->io,
                           &(struct shard_log_config){
                                   .dir = dir,
                                   .shard = number,
                                   .segment_bytes = SEGMENT_BYTES_DEFAULT,
                                   .group_bytes = GROUP_BYTES_DEFAULT,
                                   .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
                           },
                           &closing_events,
                           &c,
                           &log,
                           &report);
        if (r < 0)
                return log_error_errno(r, "Cannot recover the log in %s: %m", dir);
        r = close_segment(d, log, &c);
        if (r == -EBADMSG)
                return log_error_errno(
                        r,
                        "The end of the log in %s is damaged: drmqctl log salvage saves what is good",
                        dir);
        if (r < 0)
                return log_error_errno(r,
                                       "Cannot close the log in %s%s%s: %m",
                                       dir,
                                       c.what ? ": " : "",
                                       c.what ?: "");
        r = note_shard(d->source.contents, number, log);
        if (r < 0)
                return log_error_errno(r, "There is nothing in %s: %m", dir);
        return 0;
}

/* Return: 0; -ENOENT, logged, where it is no node's. */
static int check_directory(struct dir_source *d, const char *dir) {
        _cleanup_(mem_freep) char *path = mem_asprintf("%s/node", dir);
        struct io_stat st;
        int r;

        r = path ? io_stat(d->io, path, &st) : -ENOMEM;
        return r < 0 ? log_error_errno(r, "%s is not a node's directory: %m", dir) : 0;
}

static void note_head(struct dir_source *d, const struct tool *t) {
        const struct node_identity *id = datadir_identity(d->datadir);
        struct manifest *m = d->source.contents;
        char text[FORMAT_MAX];

        m->created_ms = MAX(io_wall_ms(d->io), INT64_C(0));
        if (t->name)
                (void) snprintf(m->name, sizeof(m->name), "%s", t->name);
        else {
                size_t n = 0;

                format_time_ms(text, m->created_ms);
                for (size_t i = 0; text[i] && text[i] != '.'; i++)
                        if (text[i] != '-' && text[i] != ':')
                                m->name[n++] = text[i];
                m->name[n] = 'Z';
        }
        m->node_id = id->node_id;
        (void) snprintf(m->node_name, sizeof(m->node_name), "-"); /* only its configuration knows */
        memcpy(m->cluster_id, id->cluster_id, sizeof(id->cluster_id));
        memcpy(m->incarnation, id->incarnation, sizeof(id->incarnation));
        (void) snprintf(m->version, sizeof(m->version), "%s", DRMQ_VERSION);
        m->token = io_random_u64(d->io);
}

int snapshot_source_of_directory(const struct tool *t, struct snapshot_source **ret) {
        _cleanup_(snapshot_source_freep) struct snapshot_source *s = NULL;
        _cleanup_(mem_freep) char *what = NULL;
        const uint64_t *shards;
        struct dir_source *d;
        size_t n;
        int r;

        d = new0(struct dir_source, 1);
        if (!d)
                return log_error_errno(-ENOMEM, "Cannot read %s: %m", t->dir);
        d->source.ops = &dir_source_ops;
        s = &d->source;
        s->contents = new0(struct manifest, 1);
        r = s->contents ? io_posix_new(/* root= */ NULL, &d->io) : -ENOMEM;
        if (r < 0)
                return log_error_errno(r, "Cannot read %s: %m", t->dir);

        r = check_directory(d, t->dir);
        if (r < 0)
                return r;
        r = datadir_open(d->io, t->dir, /* node_id= */ 0, /* tracer= */ NULL, &d->datadir, &what);
        if (r == -EBUSY)
                return log_error_errno(
                        r,
                        "A node runs in %s: make the snapshot without --dir, or stop it",
                        t->dir);
        if (r < 0)
                return log_error_errno(
                        r, "Cannot open %s%s%s: %m", t->dir, what ? ": " : "", what ?: "");

        note_head(d, t);
        shards = datadir_shards(d->datadir, &n);
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = close_shard(d, shards[i]);
        if (r < 0)
                return r;
        r = note_all_files(d);
        if (r < 0)
                return log_error_errno(r, "Cannot list the files of %s: %m", t->dir);

        *ret = TAKE_PTR(s);
        return 0;
}
