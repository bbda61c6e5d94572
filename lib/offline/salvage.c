/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Salvaging: salvage.h says what. The new logs are written by the same writer as a daemon's, on an
 * io whose jobs this runs itself.
 *
 *  I1  The offsets of a partition go on without a gap in the new log: what is missing is stood for.
 */
#include "offline/salvage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/map.h"
#include "batch/batch.h"
#include "io/io-posix.h"
#include "log/checkpoint.h"
#include "log/datadir.h"
#include "log/shard-log.h"
#include "offline/filler.h"
#include "offline/walk.h"
#include "state/state.h"

#define POSITIONS_BYTES ((size_t) 1 << 20)
#define WAIT_USEC (1 * USEC_PER_SEC)

struct salvage {
        struct io *io;
        const char *from;
        char *part; /* where it is made */
        const struct salvage_events *events;
        void *userdata;
        struct salvage_sums sums;
        struct datadir *dir;
};

/* A log under way. */
struct writer_log {
        struct io *io;
        char *dir;
        uint64_t number;
        struct shard_log *log;
        struct state *state; /* what it says so far */
        uint64_t durable_index;
        uint64_t term;
        int64_t time_ms;
        int error;
};

/* ---- Writing ---- */

static void on_synced(void *userdata, uint64_t durable_index) {
        ((struct writer_log *) userdata)->durable_index = durable_index;
}

static void on_index(void *userdata, uint64_t index) {
        (void) userdata;
        (void) index;
}

static void on_nothing(void *userdata) {
        (void) userdata;
}

static void on_failed(void *userdata, int error, const char *what) {
        (void) what;
        ((struct writer_log *) userdata)->error = error < 0 ? error : -EIO;
}

static void writer_log_done(struct writer_log *l) {
        shard_log_free(l->log);
        state_free(l->state);
        mem_free(l->dir);
}

static int writer_log_open(struct salvage *s, uint64_t number, struct writer_log *ret) {
        static const struct shard_log_events events = {
                .on_synced = on_synced,
                .on_hardstate_saved = on_nothing,
                .on_truncated = on_index,
                .on_drained = on_nothing,
                .on_failed = on_failed,
        };
        struct recovery_report report;
        int r;

        ret->io = s->io;
        ret->number = number;
        ret->term = 1;
        ret->dir = datadir_shard_path(s->dir, number);
        if (!ret->dir)
                return -ENOMEM;
        r = datadir_create_shard(s->dir, number);
        if (r >= 0)
                r = state_new(&ret->state);
        if (r < 0)
                return r;
        return shard_log_open(s->io,
                              &(struct shard_log_config){
                                      .dir = ret->dir,
                                      .shard = number,
                                      .segment_bytes = number == 0 ? SEGMENT_BYTES_METADATA
                                                                   : SEGMENT_BYTES_DEFAULT,
                                      .group_bytes = GROUP_BYTES_DEFAULT,
                                      .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
                              },
                              &events,
                              ret,
                              &ret->log,
                              &report);
}

static int writer_log_wait(struct writer_log *l) {
        int r;

        r = io_posix_dispatch(l->io, WAIT_USEC);
        if (r < 0)
                return r;
        return l->error;
}

/* Gives it the next index, and appends. */
static int writer_log_append(struct writer_log *l, struct entry *e) {
        int r;

        l->term = e->term = MAX(l->term, e->term);
        l->time_ms = e->append_time_ms = MAX(l->time_ms, e->append_time_ms);
        e->index = shard_log_last_index(l->log) + 1;
        r = state_apply(l->state, e);
        if (r < 0)
                return r;

        for (;;) {
                struct shard_log_stats stats;

                r = shard_log_append(l->log, e);
                if (r != -EAGAIN)
                        break;
                shard_log_stats(l->log, &stats);
                if (stats.is_short_of_space)
                        return -ENOSPC;
                shard_log_flush(l->log);
                r = writer_log_wait(l);
                if (r < 0)
                        return r;
        }
        return r;
}

/* All of it is synced, and committed: a checkpoint says so. */
static int writer_log_finish(struct writer_log *l) {
        _cleanup_(byte_writer_done) struct byte_writer w = {};
        int r;

        while (l->durable_index < shard_log_last_index(l->log)) {
                struct shard_log_stats stats;

                shard_log_stats(l->log, &stats);
                if (stats.is_short_of_space)
                        return -ENOSPC;
                shard_log_flush(l->log);
                r = writer_log_wait(l);
                if (r < 0)
                        return r;
        }
        while (io_posix_dispatch(l->io, 0) > 0) /* index files */
                ;
        if (l->state->index == 0)
                return l->error;

        r = state_encode(l->state, &w);
        if (r < 0)
                return r;
        r = checkpoint_write(l->io,
                             l->dir,
                             l->number,
                             &(const struct checkpoint){
                                     .index = l->state->index,
                                     .term = l->state->term,
                                     .append_time_ms = l->state->time_ms,
                                     .body = w.data,
                                     .body_bytes = w.size,
                             });
        return r < 0 ? r : l->error;
}

/* ---- Topics ---- */

/* What a shard's log says at its end, as far as it is good. */
static int load_state(struct salvage *s, uint64_t number, struct state **ret) {
        _cleanup_(mem_freep) char *dir = datadir_path_of_shard(s->from, number);
        _cleanup_(state_freep) struct state *state = NULL;
        _cleanup_(checkpoint_done) struct checkpoint c = {};
        _cleanup_(walk_freep) struct walk *walk = NULL;
        struct entry e;
        unsigned n_bad = 0;
        int r;

        if (!dir)
                return -ENOMEM;
        r = state_new(&state);
        if (r >= 0)
                r = checkpoint_load(s->io, dir, number, &c, &n_bad);
        if (r == -ENOENT) { /* all of the shard is lost */
                s->sums.n_lost_places++;
                *ret = TAKE_PTR(state);
                return 0;
        }
        if (r > 0) {
                r = state_decode(state, c.body, c.body_bytes);
                if (r < 0)
                        return r;
                state->index = c.index;
                state->term = c.term;
                state->time_ms = c.append_time_ms;
        }
        if (r >= 0)
                r = walk_new(s->io, dir, number, state->index + 1, &walk);
        if (r < 0)
                return r;

        while ((r = walk_next(walk, &e)) > 0) {
                if (number == 0 && e.index > state->index + 1)
                        s->sums.n_lost_places++;
                r = state_apply(state, &e);
                if (r < 0 && r != -EBADMSG) /* it may rest on one that is lost */
                        return r;
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(state);
        return 0;
}

static int compare_topics(const void *a, const void *b) {
        const struct topic *x = *(const struct topic *const *) a;
        const struct topic *y = *(const struct topic *const *) b;
        int r = CMP(x->created_ms, y->created_ms);

        return r != 0 ? r : strcmp(x->name, y->name);
}

/* One operation: up to @n partitions, the new ones' ids from @id on. */
static int append_op(struct writer_log *l,
                     enum admin_op op,
                     const char *name,
                     uint32_t n,
                     uint64_t id,
                     int64_t time_ms) {
        _cleanup_(byte_writer_done) struct byte_writer w = {};
        struct entry e = { .kind = ENTRY_ADMIN, .append_time_ms = time_ms };
        int r;

        byte_writer_u8(&w, (uint8_t) op);
        byte_writer_string(&w, name);
        byte_writer_uleb(&w, n);
        byte_writer_uleb(&w, id);
        r = byte_writer_result(&w);
        if (r < 0)
                return r;
        e.body = w.data;
        e.body_bytes = (uint32_t) w.size;
        return writer_log_append(l, &e);
}

/* A topic is created with its first run of ids, and extended with the others. */
static int append_topic(struct salvage *s, struct writer_log *l, const struct topic *t) {
        for (uint32_t i = 0; i < t->n_partitions;) {
                uint32_t first = i;
                int r;

                for (i++;
                     i < t->n_partitions && t->partitions[i]->id == t->partitions[i - 1]->id + 1;
                     i++)
                        ;
                r = append_op(l,
                              first == 0 ? ADMIN_TOPIC_CREATE : ADMIN_TOPIC_EXTEND,
                              t->name,
                              i,
                              t->partitions[first]->id,
                              t->created_ms);
                if (r < 0)
                        return r;
        }
        s->sums.n_topics++;
        return 0;
}

/* Partitions that have messages, but no topic, get one. */
static int append_nameless(struct salvage *s,
                           struct writer_log *l,
                           const struct state *topics,
                           const struct state *messages) {
        MAP_FOREACH(&messages->partitions, n) {
                const struct partition *p = CONTAINER_OF(n, struct partition, by_id);
                char name[32];
                int r;

                if (state_topic_partition(topics, p->id))
                        continue;
                (void) snprintf(name, sizeof(name), "lost.%" PRIu64, p->id);
                r = append_op(l, ADMIN_TOPIC_CREATE, name, 1, p->id, p->last_append_ms);
                if (r < 0)
                        return r;
                s->sums.n_nameless++;
                s->sums.n_topics++;
        }
        return 0;
}

static int salvage_topics(struct salvage *s,
                          const struct state *topics,
                          struct state *const *messages,
                          size_t n_messages) {
        _cleanup_(writer_log_done) struct writer_log l = {};
        _cleanup_(mem_freep) const struct topic **sorted = NULL;
        size_t n = 0;
        int r;

        r = writer_log_open(s, 0, &l);
        if (r < 0)
                return r;

        sorted = new0(const struct topic *, MAX(topics->topics.n_nodes, (size_t) 1));
        if (!sorted)
                return -ENOMEM;
        MAP_FOREACH(&topics->topics, node)
                sorted[n++] = CONTAINER_OF(node, struct topic, by_name);
        qsort(sorted, n, sizeof(sorted[0]), compare_topics);
        for (size_t i = 0; i < n && r >= 0; i++)
                r = append_topic(s, &l, sorted[i]);
        for (size_t i = 0; i < n_messages && r >= 0; i++)
                r = append_nameless(s, &l, topics, messages[i]);
        return r < 0 ? r : writer_log_finish(&l);
}

/* ---- Messages ---- */

/* Stands for offsets @from..@to - 1 of a partition (I1). */
static int append_filler(struct writer_log *l,
                         uint64_t partition_id,
                         uint64_t from,
                         uint64_t to,
                         const struct entry *like) {
        while (from < to) {
                uint8_t batch[BATCH_HEADER_BYTES];
                uint64_t n = MIN(to - from, FILLER_MESSAGES_MAX);
                struct entry_slice slice = {
                        .partition_id = partition_id,
                        .base_offset = from,
                        .batch = batch,
                        .batch_bytes = sizeof(batch),
                };
                struct entry e = {
                        .term = like->term,
                        .append_time_ms = like->append_time_ms,
                        .kind = ENTRY_PRODUCE,
                        .n_slices = 1,
                        .slices = &slice,
                };
                int r;

                filler_make(batch, n);
                r = writer_log_append(l, &e);
                if (r < 0)
                        return r;
                from += n;
        }
        return 0;
}

/* What is good of a produce entry. @begins_late: where the first of a partition is not 0, that is
 * no loss. */
static int salvage_entry(struct salvage *s,
                         struct writer_log *l,
                         struct entry *e,
                         const struct state *messages,
                         bool begins_late) {
        unsigned n = 0;
        int r;

        for (unsigned i = 0; i < e->n_slices; i++) {
                const struct entry_slice *slice = e->slices + i;
                const struct partition *p = state_partition(l->state, slice->partition_id);
                uint64_t next = p ? p->next_offset : 0;
                struct batch_view v;

                if (!state_partition(messages, slice->partition_id))
                        continue; /* deleted since */
                if (slice->base_offset < next || slice->base_offset > OFFSET_MAX ||
                    batch_view_init(slice->batch, slice->batch_bytes, &v) != 0 ||
                    batch_verify(&v) < 0) {
                        s->sums.n_lost_batches++;
                        s->sums.n_lost_places++;
                        continue;
                }
                if (slice->base_offset > next) {
                        if (p || !begins_late) {
                                s->sums.n_lost_offsets += slice->base_offset - next;
                                s->sums.n_lost_places++;
                                if (s->events->on_lost)
                                        s->events->on_lost(s->userdata,
                                                           slice->partition_id,
                                                           next,
                                                           slice->base_offset - 1);
                        }
                        r = append_filler(l, slice->partition_id, next, slice->base_offset, e);
                        if (r < 0)
                                return r;
                }
                s->sums.n_batches++;
                s->sums.n_messages += (uint64_t) v.n_records;
                s->sums.n_bytes += slice->batch_bytes;
                e->slices[n++] = *slice;
        }
        if (n == 0)
                return 0;

        e->n_slices = n;
        r = writer_log_append(l, e);
        if (r < 0)
                return r;
        if (s->events->on_progress && !s->events->on_progress(s->userdata, s->sums.n_bytes))
                return -ECANCELED;
        return 0;
}

/* What groups have committed, all at once. */
static int append_positions(struct writer_log *l, const struct state *messages) {
        _cleanup_(byte_writer_done) struct byte_writer w = {};
        int r;

        MAP_FOREACH(&messages->positions, n) {
                const struct position *p = CONTAINER_OF(n, struct position, by_key);

                byte_writer_string(&w, p->group);
                byte_writer_uleb(&w, p->partition_id);
                byte_writer_uleb(&w, p->offset);
                if (w.size < POSITIONS_BYTES && map_next(n))
                        continue;
                r = byte_writer_result(&w);
                if (r >= 0)
                        r = writer_log_append(l,
                                              &(struct entry){
                                                      .kind = ENTRY_GROUP,
                                                      .body = w.data,
                                                      .body_bytes = (uint32_t) w.size,
                                              });
                if (r < 0)
                        return r;
                byte_writer_done(&w);
        }
        return 0;
}

static int salvage_messages(struct salvage *s, uint64_t number, const struct state *messages) {
        _cleanup_(mem_freep) char *dir = datadir_path_of_shard(s->from, number);
        _cleanup_(writer_log_done) struct writer_log l = {};
        _cleanup_(walk_freep) struct walk *walk = NULL;
        uint64_t next_index = 0, n;
        struct entry e;
        int r;

        if (!dir)
                return -ENOMEM;
        r = writer_log_open(s, number, &l);
        if (r >= 0)
                r = walk_new(s->io, dir, number, 1, &walk);
        if (r == -ENOENT)
                return writer_log_finish(&l);
        if (r < 0)
                return r;

        while ((r = walk_next(walk, &e)) > 0) {
                if (next_index > 0 && e.index > next_index) {
                        s->sums.n_lost_entries += e.index - next_index;
                        s->sums.n_lost_places++;
                }
                next_index = e.index + 1;
                if (e.kind != ENTRY_PRODUCE)
                        continue;
                r = salvage_entry(
                        s, &l, &e, messages, /* begins_late= */ !walk_begins_at_first(walk));
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        if (walk_follows_bad(walk, &n) || messages->index >= MAX(next_index, UINT64_C(1))) {
                s->sums.n_lost_entries +=
                        messages->index >= next_index ? messages->index + 1 - next_index : 0;
                s->sums.n_lost_places++;
        }

        /* What is known to have been there, and nothing follows. */
        MAP_FOREACH(&messages->partitions, node) {
                const struct partition *want = CONTAINER_OF(node, struct partition, by_id);
                const struct partition *p = state_partition(l.state, want->id);
                uint64_t next = p ? p->next_offset : 0;

                if (want->next_offset <= next)
                        continue;
                if (want->next_offset > want->first_offset) {
                        s->sums.n_lost_offsets += want->next_offset - next;
                        s->sums.n_lost_places++;
                        if (s->events->on_lost)
                                s->events->on_lost(
                                        s->userdata, want->id, next, want->next_offset - 1);
                }
                r = append_filler(&l, want->id, next, want->next_offset, &(struct entry){});
                if (r < 0)
                        return r;
        }
        r = append_positions(&l, messages);
        return r < 0 ? r : writer_log_finish(&l);
}

/* ---- The directory ---- */

static int salvage_shards(struct salvage *s, const struct datadir_info *info) {
        _cleanup_(state_freep) struct state *topics = NULL;
        struct state *messages[DATADIR_SHARDS_MAX] = {};
        uint64_t numbers[DATADIR_SHARDS_MAX];
        size_t n = 0;
        int r = 0;

        for (size_t i = 0; i < info->n_shards && r >= 0; i++)
                if (info->shards[i] == 0)
                        r = load_state(s, 0, &topics);
                else {
                        numbers[n] = info->shards[i];
                        r = load_state(s, info->shards[i], &messages[n]);
                        n += r >= 0;
                }
        if (r >= 0 && !topics) {
                s->sums.n_lost_places++;
                r = state_new(&topics);
        }
        if (r >= 0)
                r = salvage_topics(s, topics, messages, n);
        for (size_t i = 0; i < n; i++) {
                if (r >= 0)
                        r = salvage_messages(s, numbers[i], messages[i]);
                state_free(messages[i]);
        }
        return r;
}

/* Removes what was made, as far as it can. */
static void remove_tree(struct io *io, const char *path) {
        char **names;
        size_t n;

        if (io_list(io, path, &names, &n) < 0) {
                (void) io_unlink(io, path);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                _cleanup_(mem_freep) char *child = mem_asprintf("%s/%s", path, names[i]);

                if (child)
                        remove_tree(io, child);
        }
        io_names_free(names, n);
        (void) io_rmdir(io, path);
}

static char *parent_of(const char *path) {
        const char *slash = strrchr(path, '/');

        return !slash          ? mem_strdup(".")
               : slash == path ? mem_strdup("/")
                               : mem_strndup(path, (size_t) (slash - path));
}

int salvage_run(struct io *io,
                const char *from,
                const char *to,
                const struct salvage_events *events,
                void *userdata,
                struct salvage_sums *ret) {
        struct salvage s = { .io = io, .from = from, .events = events, .userdata = userdata };
        _cleanup_(mem_freep) struct datadir_info *info = NULL;
        _cleanup_(mem_freep) char *final = NULL;
        _cleanup_(mem_freep) char *parent = NULL;
        struct io_stat st;
        size_t n;
        int r;

        assert(io);
        assert(from);
        assert(to);
        assert(events);
        assert(ret);

        for (n = strlen(to); n > 1 && to[n - 1] == '/'; n--)
                ;
        final = mem_strndup(to, n);
        info = new0(struct datadir_info, 1);
        if (!final || !info)
                return -ENOMEM;
        parent = parent_of(final);
        s.part = mem_asprintf("%s.part", final);
        if (!parent || !s.part) {
                mem_free(s.part);
                return -ENOMEM;
        }

        r = datadir_read(io, from, info);
        if (r >= 0)
                r = io_stat(io, final, &st) >= 0 || io_stat(io, s.part, &st) >= 0 ? -EEXIST : 0;
        if (r < 0) {
                mem_free(s.part);
                return r;
        }
        s.sums.n_lost_places += info->is_guessed;

        r = datadir_open(io, s.part, info->identity.node_id, NULL, &s.dir, NULL);
        if (r >= 0)
                r = salvage_shards(&s, info);
        s.dir = datadir_free(s.dir);
        if (r >= 0)
                r = io_rename(io, s.part, final);
        if (r >= 0)
                r = io_sync_dir(io, parent);
        if (r < 0)
                remove_tree(io, s.part);
        mem_free(s.part);
        if (r < 0)
                return r;

        *ret = s.sums;
        return 0;
}
