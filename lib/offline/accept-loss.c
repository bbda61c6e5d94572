/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepting a loss: accept-loss.h has the steps.
 *
 *  I1  Before step 4 is on disk a start finds a gap between its checkpoint and what follows.
 *  I2  No index and no offset is given that anything on disk names, or that can have stood in bytes
 *      that cannot be read.
 */
#include "offline/accept-loss.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "batch/batch.h"
#include "log/checkpoint.h"
#include "log/datadir.h"
#include "log/index.h"
#include "log/recovery.h"
#include "log/segment.h"
#include "log/shard-log.h"
#include "offline/filler.h"
#include "offline/walk.h"
#include "state/state.h"

/* The least that a batch takes up in the log. */
#define SLICE_BYTES_MIN (SLICE_HEADER_BYTES + BATCH_HEADER_BYTES)
/* So many to an entry. */
#define FILLERS_MAX 8192u

struct work {
        struct accept_shard shard; /* what is told */
        char *dir;
        struct state *state; /* of all that is good, from the newest checkpoint on */
        uint64_t gap_end;    /* the last gap lies before this index; 0: there is none */
        uint64_t bad_end;    /* so does the last damaged batch of an entry that is good */
        uint64_t last_index; /* nothing up to here is given again */
        uint64_t term;
        bool end_is_bad;
        bool stops_start; /* a start cannot read, or apply, an entry that is good */
};

struct accept_loss {
        struct io *io;
        struct datadir *dir;
        struct work *works;
        struct accept_shard *shards; /* of works */
        size_t n;
        uint64_t *partition_ids; /* that shard 0 knows */
        size_t n_partition_ids;
};

/* ---- Finding out ---- */

static void on_index(void *userdata, uint64_t index) {
        (void) userdata;
        (void) index;
}

static void on_nothing(void *userdata) {
        (void) userdata;
}

static void on_failed(void *userdata, int error, const char *what) {
        (void) userdata;
        (void) error;
        (void) what;
}

/* Puts the shard in order as a start does, and says what it finds. */
static int recover(struct io *io,
                   const struct work *w,
                   struct recovery_report *ret_report,
                   uint64_t *ret_term) {
        static const struct shard_log_events events = {
                .on_synced = on_index,
                .on_hardstate_saved = on_nothing,
                .on_truncated = on_index,
                .on_drained = on_nothing,
                .on_failed = on_failed,
        };
        struct shard_log *l;
        int r;

        r = shard_log_open(io,
                           &(struct shard_log_config){
                                   .dir = w->dir,
                                   .shard = w->shard.number,
                                   .segment_bytes = SEGMENT_BYTES_DEFAULT,
                                   .group_bytes = GROUP_BYTES_DEFAULT,
                                   .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
                           },
                           &events,
                           NULL,
                           &l,
                           ret_report);
        if (r < 0)
                return r;

        *ret_term = MAX(shard_log_term(l), shard_log_last_term(l));
        shard_log_free(l);
        return 0;
}

static int load_checkpoint(struct io *io, struct work *w) {
        _cleanup_(checkpoint_done) struct checkpoint c = {};
        int r;

        r = state_new(&w->state);
        if (r >= 0)
                r = checkpoint_load(io, w->dir, w->shard.number, &c, NULL);
        if (r > 0) {
                r = state_decode(w->state, c.body, c.body_bytes);
                if (r < 0)
                        return r;
                w->state->index = c.index;
                w->state->term = c.term;
                w->state->time_ms = c.append_time_ms;
        }
        return r < 0 ? r : 0;
}

static void note_lost(struct work *w, uint64_t first, uint64_t last, uint64_t n_bytes) {
        struct accept_shard *s = &w->shard;

        if (s->first_lost_index == 0)
                s->first_lost_index = first;
        s->last_lost_index = MAX(s->last_lost_index, last);
        s->n_lost_entries += last - first + 1;
        s->n_bad_bytes += n_bytes;
        w->gap_end = last + 1;
}

/* Takes out the slices whose batches are damaged: how many messages they had, nobody knows. A start
 * trusts their headers, where those look like headers. Return: how many bytes they were. */
static uint64_t drop_bad_slices(struct entry *e, bool *stops_start) {
        uint64_t n_bytes = 0;
        unsigned n = 0;

        for (unsigned i = 0; i < e->n_slices; i++) {
                const struct entry_slice *slice = e->slices + i;
                struct batch_view v;
                int r = batch_view_init(slice->batch, slice->batch_bytes, &v);

                if (r == 0 && batch_verify(&v) >= 0)
                        e->slices[n++] = *slice;
                else
                        n_bytes += slice->batch_bytes;
                *stops_start = *stops_start || r != 0;
        }
        e->n_slices = n;
        return n_bytes;
}

/* Applies all that is good; notes where indices are left out. */
static int replay(struct io *io, struct work *w) {
        _cleanup_(walk_freep) struct walk *walk = NULL;
        struct entry e;
        uint64_t n;
        int r;

        r = walk_new(io, w->dir, w->shard.number, w->state->index + 1, &walk);
        if (r < 0)
                return r;

        while ((r = walk_next(walk, &e)) > 0) {
                (void) walk_follows_bad(walk, &n);
                if (e.index > w->state->index + 1)
                        note_lost(w, w->state->index + 1, e.index - 1, n);
                n = drop_bad_slices(&e, &w->stops_start);
                if (n > 0) {
                        w->bad_end = e.index + 1;
                        w->shard.n_bad_bytes += n;
                }
                r = state_apply(w->state, &e);
                if (r < 0 && r != -EBADMSG)
                        return r;
                w->stops_start = w->stops_start || r < 0; /* it may rest on one that is lost */
                w->term = MAX(w->term, e.term);
        }
        if (r < 0)
                return r;

        w->stops_start = w->stops_start || walk_has_guessed(walk);
        w->end_is_bad = walk_follows_bad(walk, &n);
        w->shard.n_bad_bytes += w->end_is_bad ? n : 0;
        return 0;
}

static int add_partition(struct work *w, size_t *n_allocated, uint64_t id, uint64_t n_messages) {
        struct accept_shard *s = &w->shard;
        const struct partition *p = state_partition(w->state, id);
        uint64_t next = p ? p->next_offset : 0;

        if (!grow(s->partitions, *n_allocated, s->n_partitions + 1))
                return -ENOMEM;

        s->partitions[s->n_partitions++] = (struct accept_partition){
                .id = id,
                .first_lost_offset = next,
                .next_offset = MIN(next + n_messages, OFFSET_MAX),
        };
        return 0;
}

/* Notes which partitions have a good batch behind all that is lost: what comes next in those is
 * known. */
static int find_known(struct io *io, const struct work *w, uint64_t **ret, size_t *ret_n) {
        _cleanup_(walk_freep) struct walk *walk = NULL;
        _cleanup_(mem_freep) uint64_t *ids = NULL;
        size_t n = 0, n_allocated = 0;
        struct entry e;
        int r = 0;

        if (!w->end_is_bad && MAX(w->gap_end, w->bad_end) > 0)
                r = walk_new(io, w->dir, w->shard.number, MAX(w->gap_end, w->bad_end), &walk);
        while (r >= 0 && walk && (r = walk_next(walk, &e)) > 0)
                for (unsigned i = 0; i < e.n_slices; i++) {
                        bool is_there = false;

                        for (size_t k = n; k > 0 && !is_there && n - k < 64; k--)
                                is_there = ids[k - 1] == e.slices[i].partition_id;
                        if (is_there)
                                continue;
                        if (!grow(ids, n_allocated, n + 1))
                                return -ENOMEM;
                        ids[n++] = e.slices[i].partition_id;
                }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(ids);
        *ret_n = n;
        return 0;
}

static int compare_ids(const void *a, const void *b) {
        return CMP(*(const uint64_t *) a, *(const uint64_t *) b);
}

/* Raises what index files name of a partition's last offset: they may know more than what is good. */
static int raise_by_indices(struct io *io, struct work *w) {
        _cleanup_(mem_freep) uint64_t *indices = NULL;
        size_t n;
        int r;

        r = segment_list(io, w->dir, &indices, &n);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n; i++) {
                _cleanup_(segment_unrefp) struct segment *s = NULL;
                _cleanup_(index_file_closep) struct index_file *f = NULL;

                if (i + 1 < n && indices[i + 1] <= w->shard.first_lost_index)
                        continue;
                r = segment_open(io, w->dir, w->shard.number, indices[i], IO_OPEN_READ, &s);
                if (r >= 0)
                        r = segment_read_footer(s);
                if (r >= 0)
                        r = index_file_open(io, s, /* whole= */ true, &f);
                if (r == -ENOMEM)
                        return r;
                for (size_t k = 0; f && k < w->shard.n_partitions; k++) {
                        struct accept_partition *p = &w->shard.partitions[k];
                        struct index_point point, first;
                        uint64_t n_messages = p->next_offset - p->first_lost_offset;
                        bool more;

                        /* The last point: its batch begins there, and ends behind it. */
                        r = index_file_points(
                                f, p->id, INDEX_KEY_OFFSET, UINT64_MAX, 1, &point, &first, &more);
                        if (r > 0 && point.offset >= p->first_lost_offset)
                                p->next_offset =
                                        MIN(MAX(p->next_offset, point.offset + 1 + n_messages),
                                            OFFSET_MAX);
                }
        }

        return 0;
}

/* How far offsets can have been given in the bytes that are bad. */
static int find_partitions(struct accept_loss *a, struct work *w) {
        const uint64_t n_batches =
                MAX(w->shard.n_bad_bytes / SLICE_BYTES_MIN + 1, w->shard.n_lost_entries);
        const uint64_t n_messages =
                MIN(n_batches, OFFSET_MAX / ACCEPT_MESSAGES_MAX / 2) * ACCEPT_MESSAGES_MAX;
        _cleanup_(mem_freep) uint64_t *known = NULL;
        size_t n_known, n_allocated = 0;
        int r;

        r = find_known(a->io, w, &known, &n_known);
        if (r < 0)
                return r;
        if (n_known > 0)
                qsort(known, n_known, sizeof(known[0]), compare_ids);

        MAP_FOREACH(&w->state->partitions, n) {
                const struct partition *p = CONTAINER_OF(n, struct partition, by_id);

                if (n_known > 0 && bsearch(&p->id, known, n_known, sizeof(p->id), compare_ids))
                        continue;
                r = add_partition(w, &n_allocated, p->id, n_messages);
                if (r < 0)
                        return r;
        }
        /* And those of which nothing is left, or that never had a message. */
        for (size_t i = 0; i < a->n_partition_ids && w->shard.number > 0; i++) {
                if (state_partition(w->state, a->partition_ids[i]))
                        continue;
                r = add_partition(w, &n_allocated, a->partition_ids[i], n_messages);
                if (r < 0)
                        return r;
        }

        return raise_by_indices(a->io, w);
}

/* What a start would find, and what follows from it. */
static int examine(struct accept_loss *a, struct work *w) {
        struct recovery_report report;
        uint64_t checkpoint_index;
        int r;

        r = recover(a->io, w, &report, &w->term);
        if (r >= 0)
                r = load_checkpoint(a->io, w);
        if (r < 0)
                return r;
        checkpoint_index = w->state->index;
        w->term = MAX(w->term, w->state->term);

        r = replay(a->io, w);
        if (r < 0)
                return r;

        w->last_index = MAX(MAX(report.last_index, report.named_durable_index), w->state->index);
        if (w->last_index > w->state->index)
                note_lost(w, w->state->index + 1, w->last_index, 0);
        w->shard.is_needed = report.tail_is_damaged || w->gap_end > 0 || w->stops_start ||
                             checkpoint_index > report.last_index;
        if (!w->shard.is_needed)
                return 0;

        if (w->end_is_bad || report.tail_is_damaged) /* I2: as many entries as would fit */
                w->last_index += w->shard.n_bad_bytes / ENTRY_HEADER_BYTES + 1;
        w->shard.last_lost_index = w->last_index;
        if (w->shard.first_lost_index == 0)
                w->shard.first_lost_index = w->state->index + 1;
        /* Of what the checkpoint knew, something is lost. */
        w->shard.forgets_producers =
                checkpoint_index > report.last_index ||
                (report.first_damaged_index > 0 && report.first_damaged_index <= checkpoint_index);
        return find_partitions(a, w);
}

static int note_topics(struct accept_loss *a, const struct state *topics) {
        size_t n_allocated = 0;

        MAP_FOREACH(&topics->topic_partitions, n) {
                if (!grow(a->partition_ids, n_allocated, a->n_partition_ids + 1))
                        return -ENOMEM;
                a->partition_ids[a->n_partition_ids++] =
                        CONTAINER_OF(n, struct topic_partition, by_id)->id;
        }
        return 0;
}

int accept_loss_new(struct io *io, const char *path, struct accept_loss **ret, char **reterr_what) {
        _cleanup_(accept_loss_freep) struct accept_loss *a = NULL;
        const uint64_t *numbers;
        struct datadir_info *info;
        size_t n;
        int r;

        assert(io);
        assert(path);
        assert(ret);

        if (reterr_what)
                *reterr_what = NULL;

        /* datadir_open() would make one. */
        info = new0(struct datadir_info, 1);
        if (!info)
                return -ENOMEM;
        r = datadir_read(io, path, info);
        mem_free(info);
        if (r < 0)
                return r;

        a = new0(struct accept_loss, 1);
        if (!a)
                return -ENOMEM;
        a->io = io;
        r = datadir_open(io, path, 0, NULL, &a->dir, reterr_what);
        if (r < 0)
                return r;

        numbers = datadir_shards(a->dir, &n);
        a->works = new0(struct work, MAX(n, (size_t) 1));
        a->shards = new0(struct accept_shard, MAX(n, (size_t) 1));
        if (!a->works || !a->shards)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                struct work *w = &a->works[a->n++];

                w->shard.number = numbers[i];
                w->dir = datadir_shard_path(a->dir, numbers[i]);
                r = w->dir ? examine(a, w) : -ENOMEM;
                if (r >= 0 && numbers[i] == 0) /* ascending: the first */
                        r = note_topics(a, w->state);
                if (r < 0) {
                        if (reterr_what && !*reterr_what && w->dir)
                                *reterr_what = mem_asprintf("%s: %s", w->dir, strerrordesc_np(-r));
                        return r;
                }
                a->shards[i] = w->shard;
        }

        *ret = TAKE_PTR(a);
        return 0;
}

struct accept_loss *accept_loss_free(struct accept_loss *a) {
        if (!a)
                return NULL;

        for (size_t i = 0; i < a->n; i++) {
                mem_free(a->works[i].shard.partitions);
                mem_free(a->works[i].dir);
                state_free(a->works[i].state);
        }
        mem_free(a->works);
        mem_free(a->shards);
        mem_free(a->partition_ids);
        datadir_free(a->dir);
        return mem_free(a);
}

const struct accept_shard *accept_loss_shards(const struct accept_loss *a, size_t *ret_n) {
        *ret_n = a->n;
        return a->shards;
}

/* ---- Carrying it out ---- */

/* Where the next group write goes. */
struct end {
        struct io_file *file; /* shares */
        uint32_t salt;
        uint64_t pos;
        uint64_t zeroed_pos;
        uint64_t durable_index;
        uint64_t durable_term;
};

/* Behind the last byte of the file that is not zero. */
static int find_nonzero_end(struct segment *s, uint64_t from, uint64_t *ret) {
        const size_t chunk = 64u << 10;
        _cleanup_(mem_freep) uint8_t *p = mem_alloc(chunk);
        uint64_t size, end = from;
        int r;

        if (!p)
                return -ENOMEM;
        r = io_file_size(s->file, &size);
        if (r < 0)
                return r;

        for (uint64_t pos = from; pos < size;) {
                size_t n = (size_t) MIN(size - pos, (uint64_t) chunk);

                if (io_pread(s->file, p, n, pos, /* flags= */ 0) != (ssize_t) n)
                        end = ALIGN_TO(pos + n, LOG_SECTOR_BYTES);
                else
                        for (size_t at = 0; at < n; at++)
                                if (p[at] != 0)
                                        end = ALIGN_TO(pos + at + 1, LOG_SECTOR_BYTES);
                pos += n;
        }

        *ret = end;
        return 0;
}

/* Steps 1 and 2. */
static int make_end(struct io *io, struct work *w, struct end *ret) {
        _cleanup_(recovered_freep) struct recovered *found = NULL;
        _cleanup_(segment_unrefp) struct segment *next = NULL;
        struct segment *s;
        uint64_t nonzero_end = 0;
        int r;

        r = recovery_run(io, w->dir, w->shard.number, NULL, &found);
        if (r < 0)
                return r;

        s = found->n_segments > 0 ? found->segments[found->n_segments - 1] : NULL;
        if (s && !s->is_closed) {
                r = find_nonzero_end(s, s->end_pos, &nonzero_end);
                if (r < 0)
                        return r;
                if (nonzero_end == s->end_pos && w->last_index == s->last_index) {
                        *ret = (struct end){
                                .file = io_file_ref(s->file),
                                .salt = s->header.salt,
                                .pos = s->end_pos,
                                .zeroed_pos = s->zeroed_pos,
                        };
                        return 0;
                }

                s->footer = (struct segment_footer){
                        .last_index = w->last_index,
                        .last_term = w->term,
                        .commit_index = w->last_index,
                        .n_entries = w->last_index - s->header.first_index + 1,
                        .pos = nonzero_end,
                        .last_time_ms = MAX(s->last_time_ms, w->state->time_ms),
                };
                r = segment_close(s->file, &s->footer, s->header.salt);
                if (r < 0)
                        return r;
        }

        r = recovery_create_segment(io, w->dir, w->shard.number, w->last_index + 1, w->term, &next);
        if (r < 0)
                return r;
        *ret = (struct end){
                .file = io_file_ref(next->file),
                .salt = next->header.salt,
                .pos = SEGMENT_HEADER_BYTES,
                .zeroed_pos = next->zeroed_pos,
        };
        return 0;
}

/* One entry as a group write of its own, synced. */
static int write_entry(struct end *end, struct entry *e) {
        _cleanup_(mem_freep) uint8_t *p = NULL;
        size_t n_entry, n;
        int r;

        r = entry_size(e, &n_entry);
        if (r < 0)
                return r;
        n = (size_t) group_padded_bytes(GROUP_HEADER_BYTES + n_entry);
        p = mem_alloc0(n);
        if (!p)
                return -ENOMEM;

        if (end->pos + n > end->zeroed_pos) { /* never past what is zeroed and synced */
                uint64_t to = ALIGN_TO(end->pos + n, ZERO_STEP_BYTES_MIN);

                r = segment_zero(end->file, end->zeroed_pos, to);
                if (r >= 0)
                        r = io_fdatasync(end->file);
                if (r < 0)
                        return r;
                end->zeroed_pos = to;
        }

        entry_encode(e, end->salt, p + GROUP_HEADER_BYTES);
        memset(p, 0xff, GROUP_HEADER_BYTES); /* not zero: the header has no sector of its own */
        group_header_encode(
                &(const struct group_header){
                        .first_index = e->index,
                        .last_index = e->index,
                        .last_term = e->term,
                        .durable_index = end->durable_index,
                        .durable_term = end->durable_term,
                        .commit_index = end->durable_index,
                        .length_bytes = (uint32_t) (GROUP_HEADER_BYTES + n_entry),
                        .n_zero_sectors = count_zero_sectors(p, n),
                },
                end->salt,
                p);

        r = io_pwrite(end->file, p, n, end->pos);
        if (r >= 0)
                r = io_fdatasync(end->file);
        if (r < 0)
                return r;

        end->pos += n;
        end->durable_index = e->index;
        end->durable_term = e->term;
        return 0;
}

/* Entries of empty batches over all offsets that can have been given. */
static int write_fillers(struct end *end, const struct work *w, struct entry *e) {
        _cleanup_(mem_freep) struct entry_slice *slices = new0(struct entry_slice, FILLERS_MAX);
        _cleanup_(mem_freep) uint8_t *batches = mem_alloc(FILLERS_MAX * BATCH_HEADER_BYTES);
        unsigned n = 0;
        int r;

        if (!slices || !batches)
                return -ENOMEM;

        e->kind = ENTRY_PRODUCE;
        e->slices = slices;
        e->body = NULL;
        e->body_bytes = 0;
        for (size_t i = 0; i < w->shard.n_partitions; i++) {
                const struct accept_partition *p = &w->shard.partitions[i];

                for (uint64_t offset = p->first_lost_offset; offset < p->next_offset;) {
                        uint64_t n_messages = MIN(p->next_offset - offset, FILLER_MESSAGES_MAX);
                        uint8_t *batch = batches + (size_t) n * BATCH_HEADER_BYTES;

                        filler_make(batch, n_messages);
                        slices[n++] = (struct entry_slice){
                                .partition_id = p->id,
                                .base_offset = offset,
                                .batch = batch,
                                .batch_bytes = BATCH_HEADER_BYTES,
                        };
                        offset += n_messages;
                        if (n < FILLERS_MAX)
                                continue;
                        e->index++;
                        e->n_slices = n;
                        r = write_entry(end, e);
                        if (r < 0)
                                return r;
                        n = 0;
                }
        }
        if (n == 0)
                return 0;

        e->index++;
        e->n_slices = n;
        return write_entry(end, e);
}

/* Step 3. */
static int write_record(struct io *io, const struct work *w, struct end *end) {
        _cleanup_(byte_writer_done) struct byte_writer body = {};
        struct entry e = {
                .index = w->last_index + 1,
                .term = MAX(w->term, UINT64_C(1)),
                .append_time_ms = MAX(io_wall_ms(io), w->state->time_ms),
                .kind = ENTRY_ADMIN,
        };
        int r;

        byte_writer_u8(&body, ADMIN_LOSS);
        byte_writer_uleb(&body, w->shard.first_lost_index);
        byte_writer_uleb(&body, w->last_index);
        r = byte_writer_result(&body);
        if (r < 0)
                return r;

        end->durable_index = w->last_index;
        end->durable_term = w->term;
        e.body = body.data;
        e.body_bytes = (uint32_t) body.size;
        r = write_entry(end, &e);
        return r < 0 ? r : write_fillers(end, w, &e);
}

/* Step 4. */
static int write_checkpoint(struct io *io, struct work *w) {
        _cleanup_(byte_writer_done) struct byte_writer body = {};
        int r;

        if (w->shard.number == 0) /* topics that are lost had ids: as many as would fit (I2) */
                w->state->next_partition_id +=
                        (w->shard.n_lost_entries + w->shard.n_bad_bytes / ENTRY_HEADER_BYTES + 1) *
                        PARTITIONS_PER_TOPIC_MAX;
        w->state->index = w->last_index;
        w->state->term = w->term;
        if (w->shard.forgets_producers)
                state_forget_producers(w->state);

        r = state_encode(w->state, &body);
        if (r < 0)
                return r;
        return checkpoint_write(io,
                                w->dir,
                                w->shard.number,
                                &(const struct checkpoint){
                                        .index = w->state->index,
                                        .term = w->state->term,
                                        .append_time_ms = w->state->time_ms,
                                        .body = body.data,
                                        .body_bytes = body.size,
                                });
}

int accept_loss_run(struct accept_loss *a) {
        int n = 0;

        assert(a);

        for (size_t i = 0; i < a->n; i++) {
                struct work *w = &a->works[i];
                struct end end;
                int r;

                if (!w->shard.is_needed)
                        continue;

                r = make_end(a->io, w, &end);
                if (r < 0)
                        return r;
                r = write_record(a->io, w, &end);
                io_file_unref(end.file);
                if (r >= 0)
                        r = write_checkpoint(a->io, w);
                if (r < 0)
                        return r;
                n++;
        }

        return n;
}
