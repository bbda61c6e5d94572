/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: made, listed, deleted. Reading them is snapshot-read.c.
 *
 *  I1  Shards are closed one after the other, the one with metadata last: a topic that has messages
 *      in the snapshot is in it, and what was acknowledged before the request is in a closed
 *      segment.
 *  I2  What is under snapshots/ is whole and synced: it is made under incoming/ and renamed. A start
 *      removes what is under incoming/.
 *  I3  Segments are linked newest first: where one has gone meanwhile (retention drops the oldest
 *      first), all before it have gone too. It is not a snapshot then: that they were to go may be
 *      decided behind its end.
 *  I4  No path comes from a client: names are checked, files have numbers.
 */
#include "drmqd/core/snapshot.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/messages.h"
#include "log/checkpoint.h"
#include "log/segment.h"

/* A temporary snapshot that nobody reads for so long belongs to nobody any more. */
#define TEMPORARY_USEC (15 * USEC_PER_MINUTE)
#define CONTENTS_BYTES_MAX MANIFEST_BYTES_MAX

/* ---- What is held ---- */

static struct snapshot *snapshot_free(struct snapshot *s) {
        if (!s)
                return NULL;

        list_remove(&s->link);
        mem_free(s->name);
        manifest_free(s->contents);
        return mem_free(s);
}
DEFINE_CLEANUP(struct snapshot *, snapshot_free)

/* Takes @contents on success; it may be NULL. */
static int snapshot_new(const char *name, struct manifest *contents, struct snapshot **ret) {
        _cleanup_(snapshot_freep) struct snapshot *s = new0(struct snapshot, 1);

        if (!s)
                return -ENOMEM;
        list_init(&s->link);
        s->name = mem_strdup(name);
        if (!s->name)
                return -ENOMEM;

        s->contents = contents;
        *ret = TAKE_PTR(s);
        return 0;
}

struct snapshot *snapshot_find(struct snapshots *s, const char *name) {
        LIST_FOREACH(&s->held, i, struct snapshot, link)
                if (!i->is_going && streq(i->name, name))
                        return i;
        return NULL;
}

static void snapshots_set_expiry(struct snapshots *s) {
        usec_t next = USEC_INFINITY;

        LIST_FOREACH(&s->held, i, struct snapshot, link)
                if (i->contents && i->contents->is_temporary && !i->is_going)
                        next = MIN(next, usec_add(i->used_usec, TEMPORARY_USEC));
        if (next == USEC_INFINITY)
                io_timer_cancel(s->broker->io, &s->expiry);
        else
                /* without memory for it the next snapshot tries again */
                (void) io_timer_set(s->broker->io, &s->expiry, next);
}

static void snapshots_insert(struct snapshots *s, struct snapshot *snapshot) {
        struct list *before = &s->held;

        LIST_FOREACH(&s->held, i, struct snapshot, link) {
                if (strcmp(i->name, snapshot->name) > 0)
                        break;
                before = &i->link;
        }
        list_prepend(before, &snapshot->link);
        snapshot->used_usec = io_now(s->broker->io);
        s->n_held++;
        snapshots_set_expiry(s);
}

static uint64_t shard_first_index(const struct broker *b, uint64_t shard) {
        return shard < N_SHARDS ? shard_log_first_index(b->shards[shard]->log) : UINT64_MAX;
}

/* What the log no longer holds of it. @but: what is in there is counted already; NULL: nothing. */
static uint64_t snapshot_pinned_bytes(const struct broker *b,
                                      const struct snapshot *snapshot,
                                      const struct list *but) {
        uint64_t n = 0;

        if (!snapshot->contents)
                return 0;
        for (size_t i = 0; i < snapshot->contents->n_files; i++) {
                const struct manifest_file *f = snapshot->contents->files + i;
                bool is_counted = false;

                if (f->kind != MANIFEST_SEGMENT || f->index >= shard_first_index(b, f->shard))
                        continue;
                if (but)
                        LIST_FOREACH((struct list *) but, other, struct snapshot, link) {
                                const struct manifest_shard *s;

                                if (other == snapshot)
                                        break;
                                s = other->contents ? manifest_find_shard(other->contents, f->shard)
                                                    : NULL;
                                is_counted = is_counted || (s && f->index >= s->first_index &&
                                                            f->index <= s->last_index);
                        }
                if (!is_counted)
                        n += f->n_bytes;
        }
        return n;
}

size_t snapshots_held(const struct broker *b, uint64_t *ret_pinned_bytes) {
        const struct snapshots *s = b->snapshots;
        uint64_t n = 0;

        LIST_FOREACH((struct list *) &s->held, i, struct snapshot, link)
                n += snapshot_pinned_bytes(b, i, &s->held);
        *ret_pinned_bytes = n;
        return s->n_held;
}

static void
fill_snapshot(const struct broker *b, const struct snapshot *snapshot, Drmq__Proto__Snapshot *a) {
        const struct manifest *m = snapshot->contents;

        drmq__proto__snapshot__init(a);
        a->name = snapshot->name;
        a->is_damaged = !m;
        if (!m)
                return;
        a->created_ms = m->created_ms;
        a->n_files = m->n_files;
        a->n_bytes = m->n_bytes;
        a->is_temporary = m->is_temporary;
        a->pinned_bytes = snapshot_pinned_bytes(b, snapshot, /* but= */ NULL);
}

/* ---- Making ---- */

struct linked_segment {
        uint64_t first_index;
        uint64_t last_index;
};

struct linked_shard {
        uint64_t number;
        char *dir;
        uint64_t term;
        struct linked_segment *segments; /* ascending */
        size_t n_segments;
};

struct snapshot_making {
        struct io_job job;
        struct snapshots *snapshots;
        struct io *io;
        struct request *request; /* NULL: it has been answered */
        usec_t begun_usec;
        unsigned at;         /* how many shards are closed */
        bool is_rolling;     /* the next one is being */
        uint64_t roll_index; /* up to here */
        char *root;          /* the node's directory */
        char *incoming_dir;  /* "ROOT/incoming" */
        char *making_dir;    /* "ROOT/incoming/snapshot-NAME" */
        char *to;            /* "ROOT/snapshots/NAME" */
        bool has_home;
        struct linked_shard shards[N_SHARDS];
        struct manifest *contents;
};

/* I1: in which order. */
static const unsigned making_order[N_SHARDS] = { SHARD_DATA, SHARD_METADATA };

static struct snapshot_making *making_free(struct snapshot_making *m) {
        if (!m)
                return NULL;

        for (size_t i = 0; i < N_SHARDS; i++) {
                mem_free(m->shards[i].dir);
                mem_free(m->shards[i].segments);
        }
        mem_free(m->root);
        mem_free(m->incoming_dir);
        mem_free(m->making_dir);
        mem_free(m->to);
        manifest_free(m->contents);
        return mem_free(m);
}
DEFINE_CLEANUP(struct snapshot_making *, making_free)

/* The folder of all snapshots; its name is synced once. */
static int make_home(const struct snapshot_making *m) {
        int r;

        if (m->has_home)
                return 0;
        r = io_mkdir(m->io, m->snapshots->dir);
        return r < 0 && r != -EEXIST ? r : io_sync_dir(m->io, m->root);
}

/* Links one file of a shard. Return: 1; 0 it is not there. */
static int
link_file(struct snapshot_making *m, const struct linked_shard *shard, const char *name) {
        _cleanup_(mem_freep) char *from = mem_asprintf("%s/%s", shard->dir, name);
        _cleanup_(mem_freep) char *to =
                mem_asprintf("%s/shard-%" PRIu64 "/%s", m->making_dir, shard->number, name);
        int r;

        if (!from || !to)
                return -ENOMEM;
        r = io_link(m->io, from, to);
        return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

static int link_indexed(struct snapshot_making *m,
                        const struct linked_shard *shard,
                        uint64_t i,
                        const char *suffix) {
        _cleanup_(mem_freep) char *name = mem_asprintf("%020" PRIu64 "%s", i, suffix);

        return name ? link_file(m, shard, name) : -ENOMEM;
}

/* Return: 0; -ENODATA one has gone (I3). */
static int link_segments(struct snapshot_making *m, const struct linked_shard *shard) {
        for (size_t i = shard->n_segments; i > 0; i--) {
                const uint64_t first_index = shard->segments[i - 1].first_index;
                int r;

                r = link_indexed(m, shard, first_index, ".log");
                if (r <= 0)
                        return r < 0 ? r : -ENODATA;
                r = link_indexed(m, shard, first_index, ".idx");
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Checkpoints of what the segments hold; at least one where they do not begin with the first
 * entry. */
static int link_checkpoints(struct snapshot_making *m,
                            const struct linked_shard *shard,
                            uint64_t *ret_newest) {
        static const char prefix[] = "checkpoint-";
        const uint64_t last_index = shard->segments[shard->n_segments - 1].last_index;
        uint64_t newest = 0;
        char **names;
        size_t n;
        int r;

        r = io_list(m->io, shard->dir, &names, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < n; i++) {
                uint64_t index;
                char *end;

                if (strncmp(names[i], prefix, sizeof(prefix) - 1) != 0 ||
                    strlen(names[i]) != sizeof(prefix) - 1 + 20)
                        continue;
                index = 0;
                for (end = names[i] + sizeof(prefix) - 1; *end >= '0' && *end <= '9'; end++)
                        index = index * 10 + (uint64_t) (*end - '0');
                if (*end || index == 0 || index > last_index)
                        continue;
                r = link_file(m, shard, names[i]);
                if (r > 0)
                        newest = MAX(newest, index);
        }
        io_names_free(names, n);
        if (r < 0)
                return r;
        if (newest + 1 < shard->segments[0].first_index)
                return -ENODATA;

        *ret_newest = newest;
        return 0;
}

/* What has been linked, with its sizes. */
static int list_files(struct snapshot_making *m, const struct linked_shard *shard) {
        _cleanup_(mem_freep) char *dir =
                mem_asprintf("%s/shard-%" PRIu64, m->making_dir, shard->number);
        char **names;
        size_t n;
        int r;

        if (!dir)
                return -ENOMEM;
        r = io_list(m->io, dir, &names, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < n; i++) {
                _cleanup_(mem_freep) char *path = mem_asprintf("%s/%s", dir, names[i]);
                _cleanup_(mem_freep) char *listed =
                        mem_asprintf("shard-%" PRIu64 "/%s", shard->number, names[i]);
                struct io_stat st;

                r = path && listed ? io_stat(m->io, path, &st) : -ENOMEM;
                if (r >= 0)
                        r = manifest_add_file(m->contents, listed, st.size_bytes);
        }
        io_names_free(names, n);
        return r;
}

/* Everything below the folder that is being made. Contents come first: a file system that commits all
 * or nothing has the links on the disk with them, and each folder costs nothing more. */
static int sync_all(const struct snapshot_making *m) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < N_SHARDS; i++) {
                _cleanup_(mem_freep) char *dir =
                        mem_asprintf("%s/shard-%" PRIu64, m->making_dir, m->shards[i].number);

                r = dir ? io_sync_dir(m->io, dir) : -ENOMEM;
        }
        return r < 0 ? r : io_sync_dir(m->io, m->making_dir);
}

static int write_contents(struct snapshot_making *m) {
        _cleanup_(mem_freep) char *path = mem_asprintf("%s/" MANIFEST_CONTENTS_NAME, m->making_dir);
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        struct byte_writer w;
        int r;

        if (!path)
                return -ENOMEM;
        byte_writer_init(&w, CONTENTS_BYTES_MAX);
        r = manifest_format(m->contents, &w);
        if (r >= 0)
                r = io_open(m->io, path, IO_OPEN_WRITE | IO_OPEN_CREATE, &file);
        if (r >= 0)
                r = io_pwrite(file, w.data, w.size, /* pos= */ 0);
        if (r >= 0)
                r = io_fdatasync(file);
        byte_writer_done(&w);
        return r;
}

static int remove_step(struct io *io, const char *path);

/* Removes what an attempt before this one left. */
static int remove_all(struct io *io, const char *path) {
        int r;

        do
                r = remove_step(io, path);
        while (r > 0);
        return r;
}

static int making_run(struct io_job *job) {
        struct snapshot_making *m = CONTAINER_OF(job, struct snapshot_making, job);
        int r;

        r = remove_all(m->io, m->making_dir);
        if (r >= 0)
                r = make_home(m);
        if (r >= 0)
                r = io_mkdir(m->io, m->making_dir);
        for (size_t i = 0; r >= 0 && i < N_SHARDS; i++) {
                struct linked_shard *shard = m->shards + i;
                struct manifest_shard s = { .shard = shard->number, .term = shard->term };
                _cleanup_(mem_freep) char *dir =
                        mem_asprintf("%s/shard-%" PRIu64, m->making_dir, shard->number);

                r = dir ? io_mkdir(m->io, dir) : -ENOMEM;
                if (r >= 0)
                        r = link_segments(m, shard);
                if (r >= 0)
                        r = link_checkpoints(m, shard, &s.checkpoint_index);
                if (r < 0)
                        break;
                s.first_index = shard->segments[0].first_index;
                s.last_index = shard->segments[shard->n_segments - 1].last_index;
                r = manifest_add_shard(m->contents, &s);
        }
        for (size_t i = 0; r >= 0 && i < N_SHARDS; i++)
                r = list_files(m, m->shards + i);
        if (r >= 0)
                r = write_contents(m);
        if (r >= 0)
                r = sync_all(m);
        if (r >= 0)
                r = io_rename(m->io, m->making_dir, m->to); /* I2 */
        if (r >= 0)
                r = io_sync_dir(m->io, m->snapshots->dir);
        if (r < 0)
                (void) remove_all(m->io, m->making_dir); /* or the next start */
        return r;
}

static void making_refuse(struct snapshot_making *m, int error) {
        struct request *r = TAKE_PTR(m->request);

        if (!r)
                return;
        if (error == -ENODATA)
                request_fail(r,
                             DRMQ_ERROR_BUSY,
                             "The log moved on while the snapshot was made; try again");
        else if (error == -EBADMSG)
                request_fail(r,
                             DRMQ_ERROR_DAMAGED,
                             "The end of the log is damaged; drmqctl status says more");
        else
                request_fail(r,
                             drmq_error_from_errno(error),
                             "The snapshot cannot be made: %s",
                             strerrordesc_np(-error));
}

static void making_answer(struct snapshot_making *m, const struct snapshot *snapshot) {
        Drmq__Proto__SnapshotCreateResponse answer = DRMQ__PROTO__SNAPSHOT_CREATE_RESPONSE__INIT;
        struct request *r = TAKE_PTR(m->request);
        Drmq__Proto__Snapshot s;

        if (!r)
                return;
        fill_snapshot(r->broker, snapshot, &s);
        answer.snapshot = &s;
        request_answer(r, &answer, NULL, 0, NULL, 0);
}

/* Ends it; frees @m. */
static void making_end(struct snapshot_making *m, int error) {
        struct snapshots *s = m->snapshots;
        struct broker *b = s->broker;
        struct snapshot *snapshot = NULL;

        if (error >= 0)
                error = snapshot_new(m->contents->name, m->contents, &snapshot);
        if (error < 0) {
                trace(b->tracer,
                      LOG_WARNING,
                      DRMQ_MESSAGE_SNAPSHOT_FAILED,
                      FIELDS(FIELD_ERROR(error)),
                      "The snapshot %s was not made: %s",
                      m->contents->name,
                      strerrordesc_np(-error));
                making_refuse(m, error);
        } else {
                m->contents = NULL;
                s->has_home = true;
                snapshots_insert(s, snapshot);
                trace(b->tracer,
                      LOG_INFO,
                      DRMQ_MESSAGE_SNAPSHOT_CREATED,
                      FIELDS(FIELD_FILE(m->to)),
                      "The snapshot %s was made: %zu files, %" PRIu64 " bytes, in %" PRIu64 " us",
                      snapshot->name,
                      snapshot->contents->n_files,
                      snapshot->contents->n_bytes,
                      usec_sub(io_now(b->io), m->begun_usec));
                making_answer(m, snapshot);
        }
        s->making = making_free(m);
}

static void making_done(struct io_job *job, int r) {
        struct snapshot_making *m = CONTAINER_OF(job, struct snapshot_making, job);
        struct broker *b = m->snapshots->broker;

        making_end(m, r);
        broker_settle(b);
}

/* Notes which closed segments a shard has now. */
static int making_take_segments(struct snapshot_making *m, const struct shard *shard) {
        struct linked_shard *s = m->shards + shard->number;
        size_t n = shard_log_n_segments(shard->log);

        s->number = shard->number;
        s->term = shard_log_term(shard->log);
        s->dir = mem_strdup(shard->dir);
        s->segments = new0(struct linked_segment, n + 1);
        if (!s->dir || !s->segments)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                struct shard_log_segment g;

                shard_log_segment(shard->log, i, &g);
                if (g.is_closed)
                        s->segments[s->n_segments++] = (struct linked_segment){
                                .first_index = g.first_index,
                                .last_index = g.last_index,
                        };
        }
        return s->n_segments > 0 ? 0 : -ENODATA;
}

/* Closes shard after shard, then hands over to the job. */
static void making_go_on(struct snapshot_making *m) {
        struct broker *b = m->snapshots->broker;

        while (m->at < N_SHARDS) {
                struct shard *shard = b->shards[making_order[m->at]];
                int r;

                m->roll_index = shard_log_last_index(shard->log);
                r = shard_log_roll(shard->log);
                if (r == 0) {
                        m->is_rolling = true;
                        return;
                }
                if (r > 0)
                        r = making_take_segments(m, shard);
                if (r < 0) {
                        making_end(m, r == -EBUSY ? -EAGAIN : r);
                        return;
                }
                m->at++;
        }
        io_submit(m->io, IO_LANE_BACKGROUND, &m->job);
}

void snapshots_on_rolled(struct broker *b, struct shard *s, uint64_t last_index) {
        struct snapshot_making *m = b->snapshots ? b->snapshots->making : NULL;
        int r;

        if (!m || !m->is_rolling || b->shards[making_order[m->at]] != s ||
            last_index < m->roll_index)
                return; /* the log goes from file to file by itself, too */

        m->is_rolling = false;
        r = making_take_segments(m, s);
        if (r < 0) {
                making_end(m, r);
                return;
        }
        m->at++;
        making_go_on(m);
}

static int making_new(struct snapshots *s,
                      const Drmq__Proto__SnapshotCreateRequest *q,
                      struct snapshot_making **ret) {
        _cleanup_(making_freep) struct snapshot_making *m = new0(struct snapshot_making, 1);
        const struct node_identity *id = datadir_identity(s->broker->datadir);
        const struct broker *b = s->broker;
        const char *root = datadir_path(b->datadir);

        if (!m)
                return -ENOMEM;
        m->snapshots = s;
        m->io = b->io;
        m->begun_usec = io_now(b->io);
        m->job.run = making_run;
        m->job.done = making_done;
        m->root = mem_strdup(root);
        m->incoming_dir = mem_asprintf("%s/incoming", root);
        m->making_dir = mem_asprintf("%s/incoming/snapshot-%s", root, q->name);
        m->to = mem_asprintf("%s/%s", s->dir, q->name);
        m->contents = new0(struct manifest, 1);
        if (!m->root || !m->incoming_dir || !m->making_dir || !m->to || !m->contents)
                return -ENOMEM;

        memcpy(m->contents->name, q->name, strlen(q->name) + 1); /* it has been checked */
        m->contents->created_ms = MAX(io_wall_ms(b->io), INT64_C(0));
        m->contents->node_id = id->node_id;
        memcpy(m->contents->node_name, b->node_name, strnlen(b->node_name, MANIFEST_WORD_MAX));
        memcpy(m->contents->cluster_id, id->cluster_id, sizeof(id->cluster_id));
        memcpy(m->contents->incarnation, id->incarnation, sizeof(id->incarnation));
        memcpy(m->contents->version, b->version, strnlen(b->version, MANIFEST_WORD_MAX));
        m->has_home = s->has_home;
        m->contents->token = q->token;
        m->contents->is_temporary = q->is_temporary;
        *ret = TAKE_PTR(m);
        return 0;
}

void handle_snapshot_create(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__SnapshotCreateRequest *q = NULL;
        Drmq__Proto__SnapshotCreateResponse answer = DRMQ__PROTO__SNAPSHOT_CREATE_RESPONSE__INIT;
        struct snapshots *s = r->broker->snapshots;
        struct snapshot_making *m;
        struct snapshot *found;
        Drmq__Proto__Snapshot a;

        if (message_unpack(&drmq__proto__snapshot_create_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The request is malformed");
                return;
        }
        if (!snapshot_name_is_valid(q->name)) {
                request_fail(r,
                             DRMQ_ERROR_INVALID_NAME,
                             "\"%.100s\" cannot be the name of a snapshot",
                             q->name);
                return;
        }

        found = snapshot_find(s, q->name);
        if (found && q->token != 0 && found->contents && found->contents->token == q->token) {
                fill_snapshot(r->broker, found, &a); /* made, but the answer was lost */
                answer.snapshot = &a;
                request_answer(r, &answer, NULL, 0, NULL, 0);
                return;
        }
        if (found) {
                request_fail(
                        r, DRMQ_ERROR_SNAPSHOT_EXISTS, "There is a snapshot %s already", q->name);
                return;
        }
        if (s->making) {
                request_fail(r, DRMQ_ERROR_BUSY, "Another snapshot is being made");
                return;
        }
        if (s->n_held >= r->broker->snapshots_max) {
                request_fail(r,
                             DRMQ_ERROR_TOO_MANY_SNAPSHOTS,
                             "%zu snapshots are held already (limits.snapshots); delete one",
                             s->n_held);
                return;
        }
        if (making_new(s, q, &m) < 0) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        m->request = r;
        s->making = m;
        making_go_on(m);
}

/* ---- Deleting ---- */

struct removal {
        struct io_job job;
        struct list link;
        struct snapshots *snapshots;
        struct io *io;
        struct request *request;   /* NULL: nobody asked, or it has been answered */
        struct snapshot *snapshot; /* NULL: renamed away */
        char *from;
        char *incoming_dir;
        char *to; /* under incoming/ */
};

static struct removal *removal_free(struct removal *d) {
        if (!d)
                return NULL;

        list_remove(&d->link);
        mem_free(d->from);
        mem_free(d->incoming_dir);
        mem_free(d->to);
        return mem_free(d);
}

/* Removes one file or empty folder at or below @path. Return: 1; 0 nothing is left. */
static int remove_step(struct io *io, const char *path) {
        _cleanup_(mem_freep) char *child = NULL;
        struct io_stat st;
        char **names;
        size_t n;
        int r;

        r = io_stat(io, path, &st);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if (!st.is_dir) {
                r = io_unlink(io, path);
                return r < 0 ? r : 1;
        }

        r = io_list(io, path, &names, &n);
        if (r < 0)
                return r;
        if (n > 0)
                child = mem_asprintf("%s/%s", path, names[n - 1]);
        io_names_free(names, n);
        if (n > 0)
                return child ? remove_step(io, child) : -ENOMEM;

        r = io_rmdir(io, path);
        return r < 0 ? r : 1;
}

/* First away from where it could be found, then file by file: each a job of its own, so that others
 * have their turn (to unlink a large file takes a while). */
static int removal_run(struct io_job *job) {
        struct removal *d = CONTAINER_OF(job, struct removal, job);
        int r;

        if (!d->snapshot)
                return remove_step(d->io, d->to);

        r = remove_all(d->io, d->to);
        if (r >= 0)
                r = io_rename(d->io, d->from, d->to);
        if (r >= 0)
                r = io_sync_dir(d->io, d->incoming_dir);
        if (r >= 0)
                r = io_sync_dir(d->io, d->snapshots->dir);
        return r < 0 ? r : 1;
}

static void removal_answer(struct removal *d, int error) {
        Drmq__Proto__SnapshotDeleteResponse answer = DRMQ__PROTO__SNAPSHOT_DELETE_RESPONSE__INIT;
        struct request *r = TAKE_PTR(d->request);

        if (!r)
                return;
        if (error < 0)
                request_fail(r,
                             drmq_error_from_errno(error),
                             "The snapshot cannot be deleted: %s",
                             strerrordesc_np(-error));
        else
                request_answer(r, &answer, NULL, 0, NULL, 0);
}

static void removal_done(struct io_job *job, int r) {
        struct removal *d = CONTAINER_OF(job, struct removal, job);
        struct snapshots *s = d->snapshots;
        struct broker *b = s->broker;

        if (d->snapshot && r < 0)
                d->snapshot->is_going = false;
        else if (d->snapshot) {
                trace(b->tracer,
                      LOG_INFO,
                      DRMQ_MESSAGE_SNAPSHOT_DELETED,
                      FIELDS(FIELD_FILE(d->from)),
                      "The snapshot %s was deleted%s",
                      d->snapshot->name,
                      d->request ? "" : ": it was temporary, and nobody reads it");
                d->snapshot = snapshot_free(d->snapshot);
                s->n_held--;
        }
        removal_answer(d, r);
        if (r > 0)
                io_submit(d->io, IO_LANE_BACKGROUND, &d->job);
        else
                removal_free(d); /* what is left goes at the next start */
        snapshots_set_expiry(s);
        broker_settle(b);
}

/* @r: may be NULL. Return: 0; -ENOMEM. */
static int snapshots_remove(struct snapshots *s, struct snapshot *snapshot, struct request *r) {
        const char *root = datadir_path(s->broker->datadir);
        struct removal *d = new0(struct removal, 1);

        if (!d)
                return -ENOMEM;
        list_init(&d->link);
        d->from = mem_asprintf("%s/%s", s->dir, snapshot->name);
        d->incoming_dir = mem_asprintf("%s/incoming", root);
        d->to = mem_asprintf("%s/incoming/deleted-%" PRIu64, root, s->n_removals);
        if (!d->from || !d->incoming_dir || !d->to) {
                removal_free(d);
                return -ENOMEM;
        }

        s->n_removals++;
        snapshot->is_going = true;
        d->snapshots = s;
        d->io = s->broker->io;
        d->request = r;
        d->snapshot = snapshot;
        d->job.run = removal_run;
        d->job.done = removal_done;
        list_append(&s->removals, &d->link);
        io_submit(d->io, IO_LANE_BACKGROUND, &d->job);
        return 0;
}

static void snapshots_on_expiry(struct io_timer *t, void *userdata) {
        struct snapshots *s = userdata;
        usec_t now = io_now(s->broker->io);

        (void) t;
        LIST_FOREACH(&s->held, i, struct snapshot, link)
                if (i->contents && i->contents->is_temporary && !i->is_going &&
                    usec_add(i->used_usec, TEMPORARY_USEC) <= now &&
                    snapshots_remove(s, i, /* r= */ NULL) < 0)
                        i->used_usec = now; /* later */
        snapshots_set_expiry(s);
}

void handle_snapshot_delete(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__SnapshotDeleteRequest *q = NULL;
        struct snapshot *snapshot;

        if (message_unpack(&drmq__proto__snapshot_delete_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The request is malformed");
                return;
        }

        snapshot = snapshot_find(r->broker->snapshots, q->name);
        if (!snapshot)
                request_fail(
                        r, DRMQ_ERROR_UNKNOWN_SNAPSHOT, "There is no snapshot \"%.100s\"", q->name);
        else if (snapshots_remove(r->broker->snapshots, snapshot, r) < 0)
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
}

/* ---- Listing ---- */

void handle_snapshot_list(struct request *r) {
        Drmq__Proto__SnapshotListResponse answer = DRMQ__PROTO__SNAPSHOT_LIST_RESPONSE__INIT;
        struct snapshots *s = r->broker->snapshots;
        _cleanup_(mem_freep) Drmq__Proto__Snapshot *answers =
                new (Drmq__Proto__Snapshot, s->n_held + 1);
        _cleanup_(mem_freep) Drmq__Proto__Snapshot **pointers =
                new (Drmq__Proto__Snapshot *, s->n_held + 1);
        size_t n = 0;

        if (!answers || !pointers) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        LIST_FOREACH(&s->held, i, struct snapshot, link) {
                if (i->is_going)
                        continue;
                fill_snapshot(r->broker, i, answers + n);
                pointers[n] = answers + n;
                n++;
        }
        answer.snapshot = pointers;
        answer.n_snapshot = n;
        (void) snapshots_held(r->broker, &answer.pinned_bytes);
        answer.n_max = (uint32_t) r->broker->snapshots_max;
        request_answer(r, &answer, NULL, 0, NULL, 0);
}

/* ---- Life ---- */

/* The table of contents of one that is held. Return: 0, and NULL where it cannot be read. */
static int load_contents(struct io *io, const char *dir, const char *name, struct manifest **ret) {
        _cleanup_(mem_freep) char *path = mem_asprintf("%s/%s/" MANIFEST_CONTENTS_NAME, dir, name);
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(manifest_freep) struct manifest *m = NULL;
        _cleanup_(mem_freep) uint8_t *text = NULL;
        uint64_t n_bytes;
        ssize_t n;
        int r;

        *ret = NULL;
        if (!path)
                return -ENOMEM;
        r = io_open(io, path, IO_OPEN_READ, &file);
        if (r >= 0)
                r = io_file_size(file, &n_bytes);
        if (r < 0 || n_bytes > CONTENTS_BYTES_MAX)
                return 0;
        text = mem_alloc((size_t) n_bytes + 1);
        if (!text)
                return -ENOMEM;
        n = io_pread(file, text, (size_t) n_bytes, /* pos= */ 0, /* flags= */ 0);
        if (n < 0)
                return 0;
        r = manifest_parse(text, (size_t) n, &m, /* reterr_line= */ NULL);
        if (r == -ENOMEM)
                return r;
        if (r >= 0 && streq(m->name, name))
                *ret = TAKE_PTR(m);
        return 0;
}

static int snapshots_load(struct snapshots *s, const char *name) {
        _cleanup_(manifest_freep) struct manifest *contents = NULL;
        struct broker *b = s->broker;
        struct snapshot *snapshot;
        int r;

        if (!snapshot_name_is_valid(name))
                return 0; /* not ours */
        r = load_contents(b->io, s->dir, name, &contents);
        if (r < 0)
                return r;
        if (!contents)
                trace(b->tracer,
                      LOG_WARNING,
                      DRMQ_MESSAGE_SNAPSHOT_DAMAGED,
                      FIELDS(FIELD_FILE(s->dir)),
                      "The table of contents of the snapshot %s cannot be read",
                      name);
        r = snapshot_new(name, contents, &snapshot);
        if (r < 0)
                return r;

        contents = NULL;
        snapshots_insert(s, snapshot);
        return 0;
}

int snapshots_open(struct broker *b) {
        struct snapshots *s;
        char **names;
        size_t n;
        int r;

        s = b->snapshots = new0(struct snapshots, 1);
        if (!s)
                return -ENOMEM;
        s->broker = b;
        s->expiry = (struct io_timer){ .on_timer = snapshots_on_expiry, .userdata = s };
        list_init(&s->held);
        list_init(&s->removals);
        list_init(&s->reads);
        list_init(&s->waiting);
        s->dir = mem_asprintf("%s/snapshots", datadir_path(b->datadir));
        if (!s->dir)
                return -ENOMEM;

        r = io_list(b->io, s->dir, &names, &n);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = snapshots_load(s, names[i]);
        io_names_free(names, n);
        return r;
}

void snapshots_stop(struct broker *b) {
        struct snapshots *s = b->snapshots;

        if (s->making && s->making->request)
                request_fail(
                        TAKE_PTR(s->making->request), DRMQ_ERROR_STOPPING, "The node is stopping");
        LIST_FOREACH(&s->removals, d, struct removal, link)
                if (d->request)
                        request_fail(
                                TAKE_PTR(d->request), DRMQ_ERROR_STOPPING, "The node is stopping");
}

struct snapshots *snapshots_free(struct snapshots *s) {
        if (!s)
                return NULL;

        io_timer_cancel(s->broker->io, &s->expiry);
        snapshot_reads_free_all(s);
        if (s->making) {
                io_cancel(s->broker->io, &s->making->job);
                if (s->making->request)
                        request_drop(s->making->request);
                making_free(s->making);
        }
        LIST_FOREACH(&s->removals, d, struct removal, link) {
                io_cancel(s->broker->io, &d->job);
                if (d->request)
                        request_drop(d->request);
                removal_free(d);
        }
        LIST_FOREACH(&s->held, i, struct snapshot, link)
                snapshot_free(i);
        mem_free(s->dir);
        return mem_free(s);
}
