/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log writer: gathers entries into group writes, one under way at a time, in space that is zeroed
 * ahead (zero-ahead.c). The promises are I1 to I7 of log/shard-log.h; how they are kept:
 *
 *  J1  Where a group goes, and in which segment, is decided when its first entry is appended, for
 *      entries are salted.
 *  J2  All numbers of struct segment change in on_group_done() and adopt() alone: after the write, and
 *      where sync_usec is 0 after the sync.
 *  J3  At most one group write or sync, and one zeroing job, are under way, and no zeroing job beside
 *      a roll: it ends the file that the job would make longer, and takes the one that it would zero
 *      ahead.
 *  J4  A group is submitted only when it ends, and a footer behind it would, in space that is
 *      zeroed and synced.
 *  J5  A truncation runs alone: no other job of the log is under way meanwhile.
 *  J6  What is written and not synced is in the newest file alone: a roll syncs.
 */
#include "log/shard-log.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/bug.h"
#include "base/messages.h"
#include "log/reader.h"
#include "log/recovery.h"
#include "log/shard-log-internal.h"

#define IDLE_USEC (10 * USEC_PER_MSEC)
#define PAGE_BYTES 4096u
#define GROUP_ALLOCATE_BYTES_MIN (32u * 1024u)
/* While space is short messages leave so much of what is zeroed to what a node needs to go on: the
 * entry that begins a term, checkpoint marks, topics. */
#define SPARE_ROOM_BYTES (UINT64_C(64) << 10)
/* A hint for who runs jobs: not on the loop. */
#define LARGE_JOB_BYTES (UINT32_C(1) << 20)

void shard_log_fail(struct shard_log *l, int error, const char *what) {
        if (l->has_failed)
                return;

        l->has_failed = true; /* I7 */
        io_timer_cancel(l->io, &l->idle_timer);
        io_timer_cancel(l->io, &l->sync_timer);
        io_timer_cancel(l->io, &l->space_timer);
        l->events->on_failed(l->userdata, error, what);
}

/* ---- Groups ---- */

static struct group *group_free(struct group *g) {
        if (!g)
                return NULL;

        mem_free(g->memory);
        return mem_free(g);
}

/* Room for @n bytes in all, the padding of the last sector included. */
static int group_reserve(struct group *g, size_t n) {
        uint8_t *memory, *data;
        size_t n_allocated;

        if (n <= g->n_allocated)
                return 0;

        n_allocated = ALIGN_TO(MAX(n, MAX(g->n_allocated * 2, (size_t) GROUP_ALLOCATE_BYTES_MIN)),
                               PAGE_BYTES);
        memory = mem_alloc(n_allocated + PAGE_BYTES);
        if (!memory)
                return -ENOMEM;

        data = (uint8_t *) ALIGN_TO((uintptr_t) memory, PAGE_BYTES);
        if (g->size > 0)
                memcpy(data, g->data, g->size);
        mem_free(g->memory);
        g->memory = memory;
        g->data = data;
        g->n_allocated = n_allocated;
        return 0;
}

/* Room for a group of so many bytes, and for a footer behind it. */
static bool fits_segment(const struct shard_log *l, uint64_t pos, size_t n) {
        return pos + group_padded_bytes(n) + SEGMENT_FOOTER_BYTES <= l->config.segment_bytes;
}

/* Whether @n more bytes belong into @g. */
static bool group_takes(const struct shard_log *l, const struct group *g, size_t n) {
        if (g->n_entries == 0 && g->pos == SEGMENT_HEADER_BYTES)
                return true; /* one entry fits, however large it is */

        return fits_segment(l, g->pos, g->size + n) &&
               (g->n_entries == 0 || g->size + n <= GROUP_HEADER_BYTES + l->config.group_bytes);
}

/* Whether a group that begins with @n bytes would be the first of a new segment. */
static bool plan_rolls(const struct shard_log *l, size_t n) {
        return l->plan.is_used && !fits_segment(l, l->plan.pos, GROUP_HEADER_BYTES + n);
}

/* Begins the group that gathers from now on (J1). */
static int begin_group(struct shard_log *l, size_t n, bool rolls, struct group **ret) {
        struct group *g;
        int r;

        g = l->spare;
        if (!g)
                g = new0(struct group, 1);
        if (!g)
                return -ENOMEM;
        l->spare = g; /* until nothing can fail */

        g->size = 0;
        r = group_reserve(g, (size_t) group_padded_bytes(GROUP_HEADER_BYTES + n));
        if (r < 0)
                return r;
        l->spare = NULL;

        g->size = GROUP_HEADER_BYTES;
        g->first_index = l->last_index + 1;
        g->last_index = l->last_index;
        g->last_term = l->last_term;
        g->last_time_ms = l->last_time_ms;
        g->n_entries = 0;
        g->rolls = rolls;
        if (g->rolls) {
                g->header = (struct segment_header){
                        .shard = l->config.shard,
                        .first_index = g->first_index,
                        .generation = 1,
                        .previous_term = l->last_term,
                        .created_ms = io_wall_ms(l->io),
                        .salt = segment_new_salt(l->io),
                };
                l->plan = (struct log_plan){
                        .pos = SEGMENT_HEADER_BYTES,
                        .first_index = g->first_index,
                        .salt = g->header.salt,
                };
                l->n_rolls++;
        }
        g->pos = l->plan.pos;
        l->plan.is_used = true;
        l->plan.pos = group_end(g);

        list_append(&l->groups, &g->link);
        *ret = g;
        return 0;
}

/* Keeps the memory for the next group, unless one large entry made it grow far. */
static void release_group(struct shard_log *l, struct group *g) {
        l->n_rolls -= g->rolls;
        if (l->spare || g->n_allocated > 2 * (size_t) l->config.group_bytes)
                group_free(g);
        else
                l->spare = g;
}

/* Whether an entry of @n bytes fits what is zeroed. Asked only while there is no room on the
 * disk. */
static bool has_zeroed_room(const struct shard_log *l, enum entry_kind kind, size_t n) {
        const struct group *g = list_last(&l->groups, struct group, link);
        uint64_t end, zeroed_pos;
        unsigned n_rolls = l->n_rolls;

        if (g && group_takes(l, g, n))
                end = g->pos + group_padded_bytes(g->size + n);
        else if (plan_rolls(l, n)) {
                end = SEGMENT_HEADER_BYTES + group_padded_bytes(GROUP_HEADER_BYTES + n);
                n_rolls++;
        } else
                end = l->plan.pos + group_padded_bytes(GROUP_HEADER_BYTES + n);

        zeroed_pos = n_rolls == 0                   ? shard_log_newest(l)->zeroed_pos
                     : n_rolls == 1 && l->next_file ? l->next_zeroed_pos
                                                    : 0;
        return end + SEGMENT_FOOTER_BYTES + (kind == ENTRY_PRODUCE ? SPARE_ROOM_BYTES : 0) <=
               zeroed_pos;
}

/* ---- Index files ---- */

static int run_index(struct io_job *job) {
        struct index_job *j = CONTAINER_OF(job, struct index_job, job);

        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        size_t n;
        int r;

        r = index_builder_encode(j->builder, j->segment, &bytes, &n);
        if (r < 0)
                return r;

        return index_write(job->io, j->segment, bytes, n);
}

static struct index_job *index_job_free(struct index_job *j) {
        if (!j)
                return NULL;

        list_remove(&j->link);
        segment_unref(j->segment);
        index_builder_free(j->builder);
        return mem_free(j);
}

static void on_index_done(struct io_job *job, int r) {
        struct index_job *j = CONTAINER_OF(job, struct index_job, job);
        struct shard_log *l = j->log;

        index_job_free(j);
        if (r == -EIO)
                shard_log_fail(l, r, "writing an index");
        else
                shard_log_try_start(l); /* without room or memory it is rebuilt by who needs it */
}

/* Writes the index of a segment that was closed. Without memory it is left to who needs it. */
static void start_index(struct shard_log *l, struct segment *s, struct index_builder **builder) {
        struct index_job *j;

        j = new0(struct index_job, 1);
        if (!j)
                return;

        list_init(&j->link);
        j->log = l;
        j->segment = segment_ref(s);
        j->builder = TAKE_PTR(*builder);
        list_append(&l->index_jobs, &j->link);
        j->job = (struct io_job){ .run = run_index, .done = on_index_done };
        io_submit(l->io, IO_LANE_BACKGROUND, &j->job);
}

/* ---- Group writes ---- */

static int run_group(struct io_job *job) {
        struct group_write *w = CONTAINER_OF(job, struct group_write, job);
        int r;

        if (w->next) {
                if (w->syncs_old) {
                        r = io_fdatasync(w->old_file);
                        if (r < 0)
                                return r;
                }
                r = segment_close(w->old_file, &w->footer, w->old_salt);
                if (r < 0)
                        return r;
                r = segment_begin(
                        job->io, w->file, &w->header, w->dir, w->next_path, w->next->path); /* I4 */
                if (r < 0)
                        return r;
        }

        /* the group before is synced, and this one only with the next */
        if (BUG(ACK_BEFORE_FSYNC)) {
                r = io_fdatasync(w->file);
                if (r < 0)
                        return r;
        }

        r = io_pwrite(w->file, w->data, w->n_bytes, w->pos);
        if (r < 0 || !w->syncs || BUG(SKIP_FSYNC) || BUG(ACK_BEFORE_FSYNC))
                return r;

        return io_fdatasync(w->file);
}

static void write_clear(struct group_write *w) {
        w->next = segment_unref(w->next);
        w->next_builder = index_builder_free(w->next_builder);
        w->next_path = mem_free(w->next_path);
}

/* Everything a roll needs, so that nothing can fail once it is on disk. */
static int prepare_roll(struct shard_log *l, const struct group *g) {
        struct group_write *w = &l->write;
        const struct segment *s = shard_log_newest(l);
        int r;

        w->next_path = mem_asprintf("%s/%s", l->config.dir, NEXT_FILE_NAME);
        if (!w->next_path)
                return -ENOMEM;
        if (!grow(l->segments, l->n_segments_allocated, l->n_segments + 1))
                return -ENOMEM;
        r = index_builder_new(&w->next_builder);
        if (r < 0)
                return r;
        r = segment_new(l->next_file, l->config.dir, &g->header, &w->next);
        if (r < 0)
                return r;

        w->next->zeroed_pos = l->next_zeroed_pos;
        w->next->last_time_ms = s->last_time_ms;
        w->header = g->header;
        w->old_file = s->file;
        w->old_salt = s->header.salt;
        w->syncs_old = l->durable_index < l->written_index;
        w->footer = (struct segment_footer){
                .last_index = s->last_index,
                .last_term = s->last_term,
                .commit_index = MIN(l->commit_index, s->last_index),
                .n_entries = s->n_entries,
                .pos = s->end_pos,
                .last_time_ms = s->last_time_ms,
        };
        return 0;
}

static void note_durable(struct shard_log *l, uint64_t index, uint64_t term);

static void finish_roll(struct shard_log *l) {
        struct group_write *w = &l->write;
        struct segment *old = shard_log_newest(l);

        old->is_closed = true;
        old->footer = w->footer;
        start_index(l, old, &l->builder);

        l->segments[l->n_segments++] = TAKE_PTR(w->next);
        index_builder_free(l->builder);
        l->builder = TAKE_PTR(w->next_builder);
        l->next_file = io_file_unref(l->next_file);
        l->next_zeroed_pos = 0;
        note_durable(l, old->last_index, old->last_term); /* J6 */
        if (old->last_index >= l->roll_index)
                l->roll_index = 0;
}

/* Adds what was written to the open segment's index. */
static int index_group(struct shard_log *l, const struct group *g) {
        const uint32_t salt = shard_log_newest(l)->header.salt;
        size_t at = GROUP_HEADER_BYTES;

        while (at < g->size) {
                struct entry e;
                size_t n;
                int r;

                r = entry_decode_into(
                        g->data + at, g->size - at, salt, ENTRY_VERIFY_HEADER, &l->room, &e, &n);
                if (r < 0)
                        return r; /* no memory; or it changed under us */

                r = index_builder_add(l->builder, &e, g->pos + at);
                if (r < 0)
                        return r;
                at += n;
        }

        return 0;
}

/* A write or a sync is under way. */
static bool is_writing(const struct shard_log *l) {
        return io_job_is_pending(&l->write.job) || io_job_is_pending(&l->sync.job);
}

static void set_idle_timer(struct shard_log *l) {
        int r;

        l->idle_is_set = true;
        r = io_timer_set(l->io, &l->idle_timer, usec_add(io_now(l->io), IDLE_USEC));
        if (r < 0)
                shard_log_fail(l, r, "a timer");
}

/* What a header written now could say of what is committed. */
static uint64_t nameable_commit_index(const struct shard_log *l) {
        return MIN(l->commit_index, l->durable_index);
}

static bool has_news_for_header(const struct shard_log *l) {
        return l->named_durable_index < l->durable_index ||
               l->named_commit_index < nameable_commit_index(l);
}

static void on_idle_timer(struct io_timer *t, void *userdata) {
        struct shard_log *l = userdata;
        struct group *g;
        int r;

        (void) t;
        l->idle_is_set = false;
        if (is_writing(l) || !list_is_empty(&l->groups) || l->truncate_is_pending ||
            l->tail_is_damaged)
                return;

        if (has_news_for_header(l)) {
                r = begin_group(l, 0, plan_rolls(l, 0), &g);
                if (r < 0)
                        shard_log_fail(l, r, "a group write");
                else
                        shard_log_try_start(l);
                return;
        }

        l->spare = group_free(l->spare);
        entry_room_done(&l->room);
}

/* Sets the timer for what is written and not synced, or stops it. */
static void set_sync_timer(struct shard_log *l) {
        const usec_t interval = l->config.sync_usec;
        int r;

        io_timer_cancel(l->io, &l->sync_timer);
        if (l->durable_index == l->written_index || l->sync_is_due || interval == USEC_INFINITY)
                return;
        if (interval == 0) {
                l->sync_is_due = true; /* the mode changed while it was written */
                return;
        }

        r = io_timer_set(l->io, &l->sync_timer, usec_add(l->unsynced_usec, interval));
        if (r < 0)
                shard_log_fail(l, r, "a timer");
}

static void note_sync(struct shard_log *l, usec_t usec) {
        l->stats.n_syncs++;
        l->stats.last_sync_usec = usec;
        histogram_add(&l->stats.sync_usec, usec);
}

static void note_durable(struct shard_log *l, uint64_t index, uint64_t term) {
        l->durable_index = index;
        l->durable_term = term;
        l->unsynced_bytes = 0;
}

/* What is durable once a group is written. */
static void note_written(struct shard_log *l, const struct group_write *w, const struct group *g) {
        if (w->syncs) {
                note_durable(l, g->last_index, g->last_term);
                set_sync_timer(l);
                return;
        }

        if (l->durable_index == g->first_index - 1) { /* of a roll, too: note_durable() before */
                l->unsynced_usec = w->begun_usec;
                l->unsynced_bytes = w->n_bytes;
                set_sync_timer(l);
        } else
                l->unsynced_bytes += w->n_bytes;
}

static void tell_durable(struct shard_log *l, uint64_t before_index) {
        if (l->durable_index > before_index && l->events->on_durable)
                l->events->on_durable(l->userdata, l->durable_index);
}

static int run_sync(struct io_job *job) {
        return io_fdatasync(CONTAINER_OF(job, struct sync_job, job)->file);
}

static void on_sync_done(struct io_job *job, int r) {
        struct shard_log *l = CONTAINER_OF(job, struct shard_log, sync.job);
        const uint64_t durable_index = l->durable_index;

        if (r < 0) {
                shard_log_fail(l, r, "syncing the log");
                return;
        }

        note_sync(l, usec_sub(io_now(l->io), l->sync.begun_usec));
        note_durable(l, l->sync.to_index, l->sync.to_term);
        shard_log_try_start(l);
        if (!is_writing(l) && !l->has_failed)
                set_idle_timer(l);
        tell_durable(l, durable_index);
}

static void start_sync(struct shard_log *l) {
        l->sync_is_due = false;
        l->sync.file = shard_log_newest(l)->file; /* J6 */
        l->sync.to_index = l->written_index;
        l->sync.to_term = l->written_term;
        l->sync.begun_usec = io_now(l->io);
        io_submit(l->io, IO_LANE_LOG, &l->sync.job);
}

static void on_sync_timer(struct io_timer *t, void *userdata) {
        struct shard_log *l = userdata;

        (void) t;
        if (BUG(SKIP_INTERVAL))
                return;
        l->sync_is_due = true;
        shard_log_try_start(l);
}

static void on_group_done(struct io_job *job, int r) {
        struct shard_log *l = CONTAINER_OF(job, struct shard_log, write.job);
        struct group_write *w = &l->write;
        struct group *g = l->writing;
        const usec_t now = io_now(l->io);
        const uint64_t durable_index = l->durable_index;
        uint64_t rolled_index;
        struct segment *s;

        if (r < 0) {
                shard_log_fail(l,
                               r,
                               w->next ? "closing a segment and writing to the next"
                                       : "writing to the log");
                return;
        }

        rolled_index = w->next ? w->footer.last_index : 0;
        if (w->next)
                finish_roll(l);
        write_clear(w);

        s = shard_log_newest(l);
        assert(g->first_index == s->last_index + 1); /* I1 */
        assert(group_end(g) <= s->zeroed_pos);       /* I3 */
        s->last_index = g->last_index;
        s->last_term = g->last_term;
        s->last_time_ms = g->last_time_ms;
        s->n_entries += g->n_entries;
        s->end_pos = group_end(g);
        l->written_index = g->last_index;
        l->written_term = g->last_term;
        note_written(l, w, g);
        l->named_durable_index = w->named_durable_index;
        l->named_commit_index = w->named_commit_index;
        l->pending_bytes -= g->size - GROUP_HEADER_BYTES;

        l->stats.n_groups++;
        l->stats.n_group_entries += g->n_entries;
        l->stats.bytes_since_open += group_padded_bytes(g->size);
        if (w->syncs)
                note_sync(l, usec_sub(now, w->begun_usec));

        r = index_group(l, g);
        l->writing = NULL;
        release_group(l, g);
        if (r < 0) {
                shard_log_fail(l, r, "indexing what was written");
                return;
        }

        shard_log_try_start(l);
        if (!is_writing(l) && !l->has_failed)
                set_idle_timer(l);

        if (rolled_index > 0 && l->events->on_rolled)
                l->events->on_rolled(l->userdata, rolled_index);
        l->events->on_synced(l->userdata, s->last_index); /* I2 */
        tell_durable(l, durable_index);
        if (l->is_over_budget && l->pending_bytes <= l->config.append_budget_bytes / 2) {
                l->is_over_budget = false;
                l->events->on_drained(l->userdata);
        }
}

/* Fills the header in, now that it is known what is durable and committed, and submits. */
static void start_group(struct shard_log *l, struct group *g) {
        struct group_write *w = &l->write;
        struct segment *s = shard_log_newest(l);
        const size_t n_padded = (size_t) group_padded_bytes(g->size);
        struct group_header header = {
                .first_index = g->first_index,
                .last_index = g->last_index,
                .last_term = g->last_term,
                .durable_index = BUG(NAME_UNSYNCED) ? l->written_index : l->durable_index,
                .durable_term = l->durable_term,
                .commit_index = nameable_commit_index(l),
                .length_bytes = (uint32_t) g->size,
        };
        int r;

        w->syncs = l->config.sync_usec == 0 || l->sync_is_due || g->n_entries == 0;
        l->sync_is_due = l->sync_is_due && !w->syncs;
        header.is_weak = !w->syncs;

        if (g->rolls) {
                r = prepare_roll(l, g);
                if (r < 0) {
                        write_clear(w);
                        shard_log_fail(l, r, "preparing the next segment");
                        return;
                }
                header.durable_index = s->last_index; /* J6 */
                header.durable_term = s->last_term;
                header.commit_index = MIN(l->commit_index, s->last_index);
                s = w->next;
        }

        memset(g->data + g->size, 0, n_padded - g->size);
        memset(g->data, 0xff, GROUP_HEADER_BYTES); /* the header's sector is never zero */
        header.n_zero_sectors = count_zero_sectors(g->data, n_padded);
        group_header_encode(&header, s->header.salt, g->data);

        list_remove(&g->link);
        l->writing = g;
        w->file = s->file;
        w->data = g->data;
        w->n_bytes = n_padded;
        w->pos = g->pos;
        w->begun_usec = io_now(l->io);
        w->named_durable_index = header.durable_index;
        w->named_commit_index = header.commit_index;
        w->job.n_bytes = w->next    ? MAX(n_padded, (size_t) LARGE_JOB_BYTES)
                         : w->syncs ? n_padded + (size_t) l->unsynced_bytes
                                    : n_padded;
        io_submit(l->io, IO_LANE_LOG, &w->job);
}

/* ---- Hard state and truncation ---- */

static int run_save(struct io_job *job) {
        struct hardstate_job *j = CONTAINER_OF(job, struct hardstate_job, job);

        return hardstate_write(j->file, &j->hardstate);
}

static void on_save_done(struct io_job *job, int r) {
        struct shard_log *l = CONTAINER_OF(job, struct shard_log, save.job);

        if (r < 0) {
                shard_log_fail(l, r, "writing term and vote");
                return;
        }

        l->hardstate = l->save.hardstate;
        shard_log_try_start(l);
        l->events->on_hardstate_saved(l->userdata);
}

static void start_save(struct shard_log *l) {
        l->save_is_pending = false;
        l->save.hardstate.sequence = l->hardstate.sequence + 1;
        io_submit(l->io, IO_LANE_LOG, &l->save.job);
}

static int run_truncate(struct io_job *job) {
        struct truncate_job *j = CONTAINER_OF(job, struct truncate_job, job);
        struct hardstate *h = &j->hardstate;
        int r;

        if (j->unsynced_file) {
                r = io_fdatasync(j->unsynced_file);
                if (r < 0)
                        return r;
        }

        r = recovery_find_term(job->io, j->dir, j->shard, j->last_index, &h->intent_term);
        if (r < 0)
                return r == -ENOENT ? -EBADMSG : r;

        h->sequence++;
        h->intent = INTENT_TRUNCATE;
        h->intent_index = j->last_index;
        r = hardstate_write(j->hardstate_file, h);
        if (r < 0)
                return r;

        r = recovery_truncate(job->io, j->dir, j->shard, h->intent_index, h->intent_term);
        if (r < 0)
                return r;

        h->sequence++;
        h->intent = INTENT_NONE;
        r = hardstate_write(j->hardstate_file, h);
        if (r < 0)
                return r;

        return recovery_run(job->io, j->dir, j->shard, /* tracer= */ NULL, &j->recovered);
}

/* Makes what a start, or a truncation, found the state of the log. Takes what @found holds. */
static void adopt(struct shard_log *l, struct recovered *found) {
        const struct segment *s;

        for (size_t i = 0; i < l->n_segments; i++)
                segment_unref(l->segments[i]);
        mem_free(l->segments);
        index_builder_free(l->builder);
        io_file_unref(l->next_file);

        l->segments = TAKE_PTR(found->segments);
        l->n_segments = found->n_segments;
        l->n_segments_allocated = found->n_allocated;
        found->n_segments = 0;
        l->builder = TAKE_PTR(found->builder);
        l->next_file = NULL;
        l->next_zeroed_pos = 0;

        l->first_index = found->first_index;
        l->last_index = l->written_index = l->durable_index = found->last_index;
        l->last_term = l->written_term = l->durable_term = found->last_term;
        l->unsynced_bytes = 0;
        l->sync_is_due = false;
        l->roll_index = 0;
        io_timer_cancel(l->io, &l->sync_timer);
        l->last_time_ms = found->last_time_ms;
        l->commit_index = MAX(l->commit_index, found->commit_index);
        l->named_durable_index = found->named_durable_index;
        l->named_commit_index = found->named_commit_index;
        l->tail_is_damaged = found->report.tail_is_damaged;

        s = shard_log_newest(l);
        l->plan = (struct log_plan){};
        if (s)
                l->plan = (struct log_plan){
                        .pos = s->end_pos,
                        .first_index = s->header.first_index,
                        .salt = s->header.salt,
                        .is_used = s->end_pos > SEGMENT_HEADER_BYTES,
                };
}

static void on_truncate_done(struct io_job *job, int r) {
        struct shard_log *l = CONTAINER_OF(job, struct shard_log, truncate.job);

        if (r < 0) {
                shard_log_fail(l, r, "truncating the log");
                return;
        }

        l->hardstate = l->truncate.hardstate;
        adopt(l, l->truncate.recovered);
        l->truncate.recovered = recovered_free(l->truncate.recovered);
        l->truncate_is_pending = false;

        if (l->tail_is_damaged) /* jobs say nothing */
                trace(l->config.tracer,
                      LOG_ERR,
                      DRMQ_MESSAGE_CORRUPTION_FOUND,
                      FIELDS(FIELD_SHARD(l->config.shard), FIELD_FILE(l->config.dir)),
                      "The end of shard %" PRIu64 " is damaged",
                      l->config.shard);
        if (l->save_is_pending)
                start_save(l);
        if (!l->tail_is_damaged && has_news_for_header(l))
                set_idle_timer(l);
        l->events->on_truncated(l->userdata, l->last_index);
}

static void start_truncate(struct shard_log *l) {
        struct truncate_job *j = &l->truncate;

        if (io_job_is_pending(&j->job) || is_writing(l) || io_job_is_pending(&l->zero.job) ||
            io_job_is_pending(&l->save.job) || io_job_is_pending(&l->drop.job) ||
            !list_is_empty(&l->index_jobs))
                return; /* J5 */

        j->unsynced_file = l->durable_index < l->written_index ? shard_log_newest(l)->file : NULL;
        j->hardstate_file = l->hardstate_file;
        j->hardstate = l->hardstate;
        io_submit(l->io, IO_LANE_LOG, &j->job);
}

/* A roll that is asked for begins with a group without entries: what is appended meanwhile joins
 * it. */
static void start_roll(struct shard_log *l) {
        struct group *g;
        int r;

        if (l->roll_index == 0 || l->n_rolls > 0 || io_job_is_pending(&l->zero.job) ||
            l->next_zeroed_pos < SEGMENT_HEADER_BYTES + LOG_SECTOR_BYTES + SEGMENT_FOOTER_BYTES)
                return;

        r = begin_group(l, 0, /* rolls= */ true, &g);
        if (r < 0)
                shard_log_fail(l, r, "closing a segment");
}

static void start_write(struct shard_log *l) {
        struct group *g = list_first(&l->groups, struct group, link);

        if (is_writing(l))
                return;

        if (g) {
                const uint64_t end = group_end(g) + SEGMENT_FOOTER_BYTES;

                if (!g->rolls && end <= shard_log_newest(l)->zeroed_pos) /* J4 */
                        start_group(l, g);
                else if (g->rolls && !io_job_is_pending(&l->zero.job) &&
                         end <= l->next_zeroed_pos) /* J3 */
                        start_group(l, g);
        }

        if (l->sync_is_due && !is_writing(l) && l->durable_index < l->written_index)
                start_sync(l);
}

void shard_log_try_start(struct shard_log *l) {
        if (l->has_failed)
                return;
        if (l->truncate_is_pending) {
                start_truncate(l);
                return;
        }

        if (l->tail_is_damaged)
                return;

        start_roll(l);
        start_write(l);
        drop_start(l);
        zero_ahead(l);
}

/* ---- The face ---- */

int shard_log_create(struct io *io, const char *dir, uint64_t shard) {
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        _cleanup_(mem_freep) char *path = NULL;
        int r;

        path = mem_asprintf("%s/%s", dir, HARDSTATE_FILE_NAME);
        if (!path)
                return -ENOMEM;

        r = hardstate_create(io, path, &(struct hardstate){ .sequence = 1 });
        if (r < 0)
                return r;

        return recovery_create_segment(
                io, dir, shard, /* first_index= */ 1, /* previous_term= */ 0, &s);
}

/* Reads the hard state, and carries out an intent that it names. */
static int open_hardstate(struct shard_log *l, struct recovery_report *report) {
        _cleanup_(mem_freep) char *path = NULL;
        struct hardstate *h = &l->hardstate;
        int r;

        path = mem_asprintf("%s/%s", l->config.dir, HARDSTATE_FILE_NAME);
        if (!path)
                return -ENOMEM;

        r = hardstate_open(l->io, path, &l->hardstate_file, h);
        if (r < 0)
                return r;
        report->hardstate_repaired = r > 0;
        if (r > 0)
                trace(l->config.tracer,
                      LOG_WARNING,
                      DRMQ_MESSAGE_HARDSTATE_REPAIRED,
                      FIELDS(FIELD_SHARD(l->config.shard), FIELD_FILE(path)),
                      "One copy of the hard state of shard %" PRIu64 " was renewed from the other",
                      l->config.shard);

        if (h->intent == INTENT_NONE)
                return 0;
        if (h->intent != INTENT_TRUNCATE)
                return -EPROTONOSUPPORT;

        r = recovery_truncate(
                l->io, l->config.dir, l->config.shard, h->intent_index, h->intent_term);
        if (r < 0)
                return r;

        h->sequence++;
        h->intent = INTENT_NONE;
        r = hardstate_write(l->hardstate_file, h);
        if (r < 0)
                return r;

        report->intent_carried_out = true;
        trace(l->config.tracer,
              LOG_NOTICE,
              DRMQ_MESSAGE_INTENT_CARRIED_OUT,
              FIELDS(FIELD_SHARD(l->config.shard), FIELD_INDEX(h->intent_index)),
              "A truncation of shard %" PRIu64 " behind entry %" PRIu64 " was carried out",
              l->config.shard,
              h->intent_index);
        return 0;
}

int shard_log_open(struct io *io,
                   const struct shard_log_config *config,
                   const struct shard_log_events *events,
                   void *userdata,
                   struct shard_log **ret,
                   struct recovery_report *ret_report) {
        _cleanup_(shard_log_freep) struct shard_log *l = NULL;
        _cleanup_(recovered_freep) struct recovered *found = NULL;
        struct recovery_report report = {};
        int r;

        assert(config->dir);
        assert(config->segment_bytes >= SEGMENT_BYTES_MIN &&
               config->segment_bytes <= SEGMENT_BYTES_MAX);
        assert(config->group_bytes > 0 && config->group_bytes <= ENTRY_BYTES_MAX);
        assert(config->append_budget_bytes > 0);
        assert(events);
        assert(ret);

        l = new0(struct shard_log, 1);
        if (!l)
                return -ENOMEM;

        l->io = io;
        l->config = *config;
        l->events = events;
        l->userdata = userdata;
        list_init(&l->groups);
        list_init(&l->index_jobs);
        l->idle_timer = (struct io_timer){ .on_timer = on_idle_timer, .userdata = l };
        l->sync_timer = (struct io_timer){ .on_timer = on_sync_timer, .userdata = l };
        l->write.job =
                (struct io_job){ .run = run_group, .done = on_group_done, .queue = config->shard };
        l->write.dir = config->dir;
        l->sync.job =
                (struct io_job){ .run = run_sync, .done = on_sync_done, .queue = config->shard };
        zero_init(l);
        drop_init(l);
        l->save.job = (struct io_job){
                .run = run_save,
                .done = on_save_done,
                .queue = config->shard,
                .n_bytes = 2 * HARDSTATE_COPY_BYTES,
        };
        l->truncate.job = (struct io_job){
                .run = run_truncate,
                .done = on_truncate_done,
                .queue = config->shard,
                .n_bytes = LARGE_JOB_BYTES,
        };
        l->truncate.dir = config->dir;
        l->truncate.shard = config->shard;

        r = open_hardstate(l, &report);
        if (r < 0)
                return r;
        r = recovery_run(io, config->dir, config->shard, config->tracer, &found);
        if (r < 0)
                return r;

        found->report.hardstate_repaired = report.hardstate_repaired;
        found->report.intent_carried_out = report.intent_carried_out;
        report = found->report;
        adopt(l, found);
        l->save.file = l->hardstate_file;
        if (!l->tail_is_damaged && has_news_for_header(l)) {
                l->idle_is_set = true;
                r = io_timer_set(io, &l->idle_timer, usec_add(io_now(io), IDLE_USEC));
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(l);
        *ret_report = report;
        return 0;
}

struct shard_log *shard_log_free(struct shard_log *l) {
        if (!l)
                return NULL;

        io_cancel(l->io, &l->write.job);
        io_cancel(l->io, &l->sync.job);
        io_cancel(l->io, &l->zero.job);
        io_cancel(l->io, &l->drop.job);
        io_cancel(l->io, &l->save.job);
        io_cancel(l->io, &l->truncate.job);
        LIST_FOREACH(&l->index_jobs, j, struct index_job, link) {
                io_cancel(l->io, &j->job);
                index_job_free(j);
        }
        io_timer_cancel(l->io, &l->idle_timer);
        io_timer_cancel(l->io, &l->sync_timer);
        io_timer_cancel(l->io, &l->space_timer);

        LIST_FOREACH(&l->groups, g, struct group, link)
                group_free(g);
        group_free(l->writing);
        group_free(l->spare);
        write_clear(&l->write);
        zero_done(&l->zero);
        recovered_free(l->truncate.recovered);
        for (size_t i = 0; i < l->n_segments; i++)
                segment_unref(l->segments[i]);
        mem_free(l->segments);
        index_builder_free(l->builder);
        io_file_unref(l->next_file);
        io_file_unref(l->hardstate_file);
        entry_room_done(&l->room);
        return mem_free(l);
}

uint64_t shard_log_first_index(const struct shard_log *l) {
        return l->first_index;
}

uint64_t shard_log_last_index(const struct shard_log *l) {
        return l->last_index;
}

uint64_t shard_log_last_term(const struct shard_log *l) {
        return l->last_term;
}

int64_t shard_log_last_time_ms(const struct shard_log *l) {
        return l->last_time_ms;
}

uint64_t shard_log_written_index(const struct shard_log *l) {
        return l->written_index;
}

uint64_t shard_log_durable_index(const struct shard_log *l) {
        return l->durable_index;
}

uint64_t shard_log_commit_index(const struct shard_log *l) {
        return l->commit_index;
}

uint64_t shard_log_term(const struct shard_log *l) {
        return l->hardstate.term;
}

uint64_t shard_log_vote(const struct shard_log *l) {
        return l->hardstate.vote;
}

int shard_log_append(struct shard_log *l, const struct entry *e) {
        struct group *g;
        size_t n;
        int r;

        assert(l);
        assert(e);

        if (l->has_failed)
                return -EIO;
        if (l->tail_is_damaged)
                return -EBADMSG;
        if (l->truncate_is_pending)
                return -EAGAIN;
        if (e->index != l->last_index + 1 || e->term < l->last_term)
                return -ESTALE; /* I1 */

        r = entry_size(e, &n);
        if (r < 0)
                return r;
        if (l->pending_bytes > 0 && l->pending_bytes + n > l->config.append_budget_bytes) {
                l->is_over_budget = true;
                return -EAGAIN;
        }
        if ((e->kind == ENTRY_PRODUCE ? l->is_below_reserve : l->is_short_of_space) &&
            !has_zeroed_room(l, e->kind, n)) {
                l->wanted_bytes = MAX(l->wanted_bytes, (uint64_t) n);
                return -ENOSPC;
        }

        g = list_last(&l->groups, struct group, link);
        if (!g || !group_takes(l, g, n))
                r = begin_group(l, n, plan_rolls(l, n), &g);
        else
                r = group_reserve(g, (size_t) group_padded_bytes(g->size + n));
        if (r < 0)
                return r;

        entry_encode(e, l->plan.salt, g->data + g->size);
        g->size += n;
        g->last_index = e->index;
        g->last_term = e->term;
        g->last_time_ms = e->append_time_ms;
        g->n_entries++;
        l->plan.pos = group_end(g);
        l->pending_bytes += n;
        l->last_index = e->index;
        l->last_term = e->term;
        l->last_time_ms = e->append_time_ms;

        if (g->size >= l->config.group_bytes || list_first(&l->groups, struct group, link) != g)
                shard_log_try_start(l); /* a group is full */
        return 0;
}

void shard_log_flush(struct shard_log *l) {
        assert(l);
        shard_log_try_start(l);
}

void shard_log_set_commit(struct shard_log *l, uint64_t commit_index) {
        assert(l);

        l->commit_index = MAX(l->commit_index, commit_index);
        if (!l->has_failed && !l->tail_is_damaged && !l->idle_is_set && !is_writing(l) &&
            list_is_empty(&l->groups) && !l->truncate_is_pending && has_news_for_header(l))
                set_idle_timer(l);
}

int shard_log_save_hardstate(struct shard_log *l, uint64_t term, uint64_t vote) {
        assert(l);

        if (l->has_failed)
                return -EIO;
        if (io_job_is_pending(&l->save.job) || l->save_is_pending)
                return -EBUSY;

        l->save.hardstate = l->hardstate;
        l->save.hardstate.term = term;
        l->save.hardstate.vote = vote;
        l->save.hardstate.intent = INTENT_NONE;
        if (io_job_is_pending(&l->truncate.job))
                l->save_is_pending = true;
        else
                start_save(l);
        return 0;
}

int shard_log_truncate(struct shard_log *l, uint64_t last_index) {
        assert(l);

        if (l->has_failed)
                return -EIO;
        if (l->truncate_is_pending)
                return -EBUSY;
        if (last_index < l->commit_index || last_index > l->last_index)
                return -EINVAL; /* I5 */

        LIST_FOREACH(&l->groups, g, struct group, link) {
                list_remove(&g->link);
                l->pending_bytes -= g->size - GROUP_HEADER_BYTES;
                release_group(l, g);
        }
        l->truncate.last_index = last_index;
        l->truncate_is_pending = true;
        shard_log_try_start(l);
        return 0;
}

int shard_log_sync(struct shard_log *l) {
        assert(l);

        if (l->has_failed)
                return -EIO;
        if (l->durable_index == l->written_index)
                return 1;

        l->sync_is_due = true;
        shard_log_try_start(l);
        return 0;
}

void shard_log_set_sync(struct shard_log *l, usec_t sync_usec) {
        assert(l);

        l->config.sync_usec = sync_usec;
        if (l->has_failed || l->durable_index == l->written_index)
                return;

        if (sync_usec == 0)
                (void) shard_log_sync(l); /* there is something */
        else
                set_sync_timer(l);
}

int shard_log_roll(struct shard_log *l) {
        assert(l);

        if (l->has_failed)
                return -EIO;
        if (l->tail_is_damaged)
                return -EBADMSG;
        if (l->roll_index > 0 || l->truncate_is_pending)
                return -EBUSY;
        if (l->plan.first_index == l->last_index + 1)
                return l->n_rolls > 0 ? -EBUSY : 1;
        if ((l->is_short_of_space || l->is_below_reserve) && !l->next_file)
                return -ENOSPC;

        l->roll_index = l->last_index;
        shard_log_try_start(l);
        return l->has_failed ? -EIO : 0;
}

/* As long as the file is. */
static uint64_t file_bytes(const struct segment *s) {
        return s->is_closed ? s->end_pos + SEGMENT_FOOTER_BYTES : s->zeroed_pos;
}

size_t shard_log_n_segments(const struct shard_log *l) {
        return l->n_segments;
}

void shard_log_segment(const struct shard_log *l, size_t i, struct shard_log_segment *ret) {
        const struct segment *s;

        assert(i < l->n_segments);
        assert(ret);

        s = l->segments[i];
        *ret = (struct shard_log_segment){
                .path = s->path,
                .first_index = s->header.first_index,
                .last_index = s->last_index,
                .n_bytes = file_bytes(s),
                .last_time_ms = s->last_time_ms,
                .generation = s->header.generation,
                .is_closed = s->is_closed,
        };
}

void shard_log_stats(const struct shard_log *l, struct shard_log_stats *ret) {
        assert(l);
        assert(ret);

        *ret = l->stats;
        ret->n_segments = l->n_segments;
        ret->pending_bytes = l->pending_bytes;
        ret->append_budget_bytes = l->config.append_budget_bytes;
        ret->is_below_reserve = l->is_below_reserve;
        ret->is_short_of_space = l->is_short_of_space;
        ret->free_bytes = l->free_bytes;
        ret->reserve_bytes = zero_reserve(l);
        ret->sync_interval_usec = l->config.sync_usec;
        ret->unsynced_bytes = l->unsynced_bytes;
        for (size_t i = 0; i < l->n_segments; i++)
                ret->n_bytes += file_bytes(l->segments[i]);
}

int shard_log_replay(struct shard_log *l,
                     uint64_t from_index,
                     uint64_t to_index,
                     int (*apply)(void *userdata, const struct entry *e),
                     void *userdata) {
        _cleanup_(log_scan_freep) struct log_scan *scan = NULL;
        int r;

        assert(l);
        assert(apply);
        assert(to_index <= l->written_index);

        r = shard_log_scan(l, from_index, to_index, ENTRY_VERIFY_HEADER, &scan);
        if (r < 0)
                return r;

        for (;;) {
                struct entry e;

                r = log_scan_next(scan, &e);
                if (r == 0)
                        return 0;
                if (r == -EBADMSG)
                        continue; /* a gap in the indices is what @apply sees of it */
                if (r < 0)
                        return r;

                r = apply(userdata, &e);
                if (r < 0)
                        return r;
        }
}
