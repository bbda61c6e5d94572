/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log writer: gathers entries into group writes, one under way at a time, and zeroes space
 * ahead of them. The promises are I1 to I6 of log/shard-log.h; how they are kept:
 *
 *  J1  Where a group goes, and in which segment, is decided when its first entry is appended, for
 *      entries are salted.
 *  J2  All numbers of struct segment change in on_group_done() and adopt() alone: after the sync.
 *  J3  At most one group write and one zeroing job are under way, and no zeroing job beside a roll:
 *      it ends the file that the job would make longer, and takes the one that it would zero ahead.
 *  J4  A group is submitted only when it ends, and a footer behind it would, in space that is
 *      zeroed and synced.
 *  J5  A truncation runs alone: no other job of the log is under way meanwhile.
 */
#include "log/shard-log.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/bug.h"
#include "base/messages.h"
#include "log/reader.h"
#include "log/recovery.h"
#include "log/shard-log-internal.h"

#define ZERO_STEP_BYTES_MAX (UINT64_C(16) << 20)
#define IDLE_USEC (10 * USEC_PER_MSEC)
#define SPACE_RETRY_USEC USEC_PER_SEC
/* A step of zeroing that begins so soon after the last one is twice as large; so late, half as
 * large. */
#define ZERO_SOON_USEC USEC_PER_SEC
#define ZERO_LATE_USEC (10 * USEC_PER_SEC)
#define PAGE_BYTES 4096u
#define GROUP_ALLOCATE_BYTES_MIN (32u * 1024u)
/* A hint for who runs jobs: not on the loop. */
#define LARGE_JOB_BYTES (UINT32_C(1) << 20)

static_assert(SEGMENT_BYTES_MIN >= ZERO_STEP_BYTES_MIN, "a new file is not longer than a segment");

static void try_start(struct shard_log *l);

static void fail(struct shard_log *l, int error, const char *what) {
        if (l->has_failed)
                return;

        l->has_failed = true; /* I6 */
        io_timer_cancel(l->io, &l->idle_timer);
        io_timer_cancel(l->io, &l->space_timer);
        l->events->on_failed(l->userdata, error, what);
}

static struct segment *newest(const struct shard_log *l) {
        return l->n_segments > 0 ? l->segments[l->n_segments - 1] : NULL;
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

static uint64_t group_end(const struct group *g) {
        return g->pos + group_padded_bytes(g->size);
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
static int begin_group(struct shard_log *l, size_t n, struct group **ret) {
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
        g->rolls = plan_rolls(l, n);
        if (g->rolls) {
                g->header = (struct segment_header){
                        .shard = l->config.shard,
                        .first_index = g->first_index,
                        .generation = 1,
                        .previous_term = l->last_term,
                        .created_ms = io_wall_ms(l->io),
                        .salt = segment_new_salt(l->io),
                };
                l->plan = (struct log_plan){ .pos = SEGMENT_HEADER_BYTES, .salt = g->header.salt };
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

/* ---- Zeroing ahead ---- */

static int run_zero(struct io_job *job) {
        struct zero_job *z = CONTAINER_OF(job, struct zero_job, job);
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        int r;

        if (z->makes)
                return segment_make_file(job->io, z->path, z->to_pos, &z->made);

        r = io_open(job->io, z->path, IO_OPEN_WRITE, &file);
        if (r < 0)
                return r;
        r = segment_zero(file, z->from_pos, z->to_pos);
        if (r < 0)
                return r;

        r = io_fdatasync(file);
        return r < 0 ? -EIO : 0; /* whatever it is: nothing is known of the file any more */
}

static void zero_clear(struct zero_job *z) {
        z->made = io_file_unref(z->made);
        z->path = mem_free(z->path);
}

static void on_zero_done(struct io_job *job, int r) {
        struct shard_log *l = CONTAINER_OF(job, struct shard_log, zero.job);
        struct zero_job *z = &l->zero;

        if (r == -ENOSPC || r == -EDQUOT) {
                zero_clear(z);
                if (!l->is_short_of_space)
                        trace(l->config.tracer,
                              LOG_WARNING,
                              DRMQ_MESSAGE_DISK_FULL,
                              FIELDS(FIELD_SHARD(l->config.shard),
                                     FIELD_FILE(l->config.dir),
                                     FIELD_ERROR(r)),
                              "There is no space for shard %" PRIu64
                              " to grow, new entries are refused",
                              l->config.shard);
                l->is_short_of_space = true;
                l->zero_step_bytes = ZERO_STEP_BYTES_MIN;
                l->space_is_set = true;
                r = io_timer_set(l->io, &l->space_timer, usec_add(io_now(l->io), SPACE_RETRY_USEC));
                if (r < 0)
                        fail(l, r, "a timer");
                return;
        }
        if (r < 0) {
                zero_clear(z);
                fail(l, r, "zeroing space ahead of the log");
                return;
        }

        if (z->makes)
                l->next_file = TAKE_PTR(z->made);
        if (z->is_next)
                l->next_zeroed_pos = z->to_pos;
        else
                newest(l)->zeroed_pos = z->to_pos;
        zero_clear(z);

        if (l->is_short_of_space) {
                l->is_short_of_space = false;
                l->is_space_wanted = false;
                trace(l->config.tracer,
                      LOG_INFO,
                      /* message_id= */ NULL,
                      FIELDS(FIELD_SHARD(l->config.shard)),
                      "There is space again for shard %" PRIu64 " to grow",
                      l->config.shard);
                l->events->on_drained(l->userdata);
        }
        try_start(l);
}

/* Of the open file, or of the next one, from where it is zeroed on; at least up to @need_pos. */
static void start_zeroing(struct shard_log *l, bool is_next, uint64_t need_pos) {
        struct zero_job *z = &l->zero;
        const usec_t now = io_now(l->io);
        const uint64_t from_pos = is_next ? l->next_zeroed_pos : newest(l)->zeroed_pos;
        uint64_t to_pos;

        if (usec_sub(now, l->zero_usec) < ZERO_SOON_USEC)
                l->zero_step_bytes = MIN(l->zero_step_bytes * 2, ZERO_STEP_BYTES_MAX);
        else if (usec_sub(now, l->zero_usec) > ZERO_LATE_USEC)
                l->zero_step_bytes = MAX(l->zero_step_bytes / 2, ZERO_STEP_BYTES_MIN);
        if (l->is_short_of_space)
                l->zero_step_bytes = ZERO_STEP_BYTES_MIN;
        l->zero_usec = now;

        /* No further than the segment will need, but as far as one large group does. */
        to_pos = MIN(from_pos + l->zero_step_bytes, l->config.segment_bytes);
        to_pos = ALIGN_TO(MAX(to_pos, need_pos), PAGE_BYTES);

        z->path = is_next ? mem_asprintf("%s/%s", l->config.dir, NEXT_FILE_NAME)
                          : mem_strdup(newest(l)->path);
        if (!z->path) {
                fail(l, -ENOMEM, "zeroing space ahead of the log");
                return;
        }
        z->is_next = is_next;
        z->makes = is_next && !l->next_file;
        z->from_pos = from_pos;
        z->to_pos = to_pos;
        z->job.n_bytes = MAX((size_t) (to_pos - from_pos), (size_t) LARGE_JOB_BYTES);
        io_submit(l->io, IO_LANE_BACKGROUND, &z->job);
}

/* Keeps space ahead of the writer: for the group that waits first, then ahead of what is planned.
 * The next file is zeroed whole while the one before it is written: in a file that grows, a group's
 * sync would wait for the zeroes behind it and for the journal of the file system (measured: 2.8 ms
 * instead of 0.2). */
static void zero_ahead(struct shard_log *l) {
        const struct group *first = list_first(&l->groups, struct group, link);
        const struct segment *s = newest(l); /* there is one where something may be appended */
        const uint64_t need_pos = first ? group_end(first) + SEGMENT_FOOTER_BYTES : 0;
        const bool roll_is_near = l->n_rolls > 0 || l->plan.pos > l->config.segment_bytes / 2;

        if (io_job_is_pending(&l->zero.job) || l->has_failed || l->space_is_set ||
            l->truncate_is_pending || l->write.next)
                return; /* a roll that is under way has both files to itself (J3) */

        if (first && need_pos > (first->rolls ? l->next_zeroed_pos : s->zeroed_pos))
                start_zeroing(l, first->rolls, need_pos);
        else if (l->is_short_of_space && !l->is_space_wanted)
                return; /* what waits fits */
        else if (l->n_rolls == 0 && s->zeroed_pos < l->config.segment_bytes &&
                 (l->is_short_of_space || s->zeroed_pos < l->plan.pos + l->zero_step_bytes / 4 * 3))
                start_zeroing(l, /* is_next= */ false, 0);
        else if (l->is_short_of_space && l->next_file)
                start_zeroing(l, /* is_next= */ true, l->next_zeroed_pos + ZERO_STEP_BYTES_MIN);
        else if (roll_is_near && !l->next_file)
                start_zeroing(l, /* is_next= */ true, SEGMENT_HEADER_BYTES);
        else if (roll_is_near && !l->is_short_of_space &&
                 l->next_zeroed_pos < l->config.segment_bytes)
                start_zeroing(l, /* is_next= */ true, 0); /* whole, before it is written to */
}

static void on_space_timer(struct io_timer *t, void *userdata) {
        struct shard_log *l = userdata;

        (void) t;
        l->space_is_set = false;
        if (!list_is_empty(&l->groups) || l->is_space_wanted)
                try_start(l);
}

/* Whether an entry of @n bytes fits what is zeroed. Asked only while there is no room on the
 * disk. */
static bool has_zeroed_room(const struct shard_log *l, size_t n) {
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

        zeroed_pos = n_rolls == 0                   ? newest(l)->zeroed_pos
                     : n_rolls == 1 && l->next_file ? l->next_zeroed_pos
                                                    : 0;
        return end + SEGMENT_FOOTER_BYTES <= zeroed_pos;
}

/* ---- Index files ---- */

static int run_index(struct io_job *job) {
        struct index_job *j = CONTAINER_OF(job, struct index_job, job);

        return index_write(job->io, j->segment, j->bytes, j->n_bytes);
}

static struct index_job *index_job_free(struct index_job *j) {
        if (!j)
                return NULL;

        list_remove(&j->link);
        segment_unref(j->segment);
        mem_free(j->bytes);
        return mem_free(j);
}

static void on_index_done(struct io_job *job, int r) {
        struct index_job *j = CONTAINER_OF(job, struct index_job, job);
        struct shard_log *l = j->log;

        index_job_free(j);
        if (r == -EIO)
                fail(l, r, "writing an index");
        else
                try_start(l); /* without room or memory it is rebuilt by who needs it */
}

/* Writes the index of a segment that was closed. Without memory it is left to who needs it. */
static void
start_index(struct shard_log *l, struct segment *s, const struct index_builder *builder) {
        struct index_job *j;

        j = new0(struct index_job, 1);
        if (!j)
                return;

        list_init(&j->link);
        j->log = l;
        j->segment = segment_ref(s);
        if (index_builder_encode(builder, s, &j->bytes, &j->n_bytes) < 0) {
                index_job_free(j);
                return;
        }

        list_append(&l->index_jobs, &j->link);
        j->job = (struct io_job){ .run = run_index, .done = on_index_done, .n_bytes = j->n_bytes };
        io_submit(l->io, IO_LANE_BACKGROUND, &j->job);
}

/* ---- Group writes ---- */

static int run_group(struct io_job *job) {
        struct group_write *w = CONTAINER_OF(job, struct group_write, job);
        int r;

        if (w->next) {
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
        if (r < 0 || BUG(SKIP_FSYNC) || BUG(ACK_BEFORE_FSYNC))
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
        const struct segment *s = newest(l);
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

static void finish_roll(struct shard_log *l) {
        struct group_write *w = &l->write;
        struct segment *old = newest(l);

        old->is_closed = true;
        old->footer = w->footer;
        start_index(l, old, l->builder);

        l->segments[l->n_segments++] = TAKE_PTR(w->next);
        index_builder_free(l->builder);
        l->builder = TAKE_PTR(w->next_builder);
        l->next_file = io_file_unref(l->next_file);
        l->next_zeroed_pos = 0;
}

/* Adds what was written to the open segment's index. */
static int index_group(struct shard_log *l, const struct group *g) {
        const uint32_t salt = newest(l)->header.salt;
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

static void set_idle_timer(struct shard_log *l) {
        int r;

        l->idle_is_set = true;
        r = io_timer_set(l->io, &l->idle_timer, usec_add(io_now(l->io), IDLE_USEC));
        if (r < 0)
                fail(l, r, "a timer");
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
        if (io_job_is_pending(&l->write.job) || !list_is_empty(&l->groups) ||
            l->truncate_is_pending || l->tail_is_damaged)
                return;

        if (has_news_for_header(l)) {
                r = begin_group(l, 0, &g);
                if (r < 0)
                        fail(l, r, "a group write");
                else
                        try_start(l);
                return;
        }

        l->spare = group_free(l->spare);
        entry_room_done(&l->room);
}

static void on_group_done(struct io_job *job, int r) {
        struct shard_log *l = CONTAINER_OF(job, struct shard_log, write.job);
        struct group_write *w = &l->write;
        struct group *g = l->writing;
        const usec_t now = io_now(l->io);
        struct segment *s;

        if (r < 0) {
                fail(l,
                     r,
                     w->next ? "closing a segment and writing to the next" : "writing to the log");
                return;
        }

        if (w->next)
                finish_roll(l);
        write_clear(w);

        s = newest(l);
        assert(g->first_index == s->last_index + 1); /* I1 */
        assert(group_end(g) <= s->zeroed_pos);       /* I3 */
        s->last_index = g->last_index;
        s->last_term = g->last_term;
        s->last_time_ms = g->last_time_ms;
        s->n_entries += g->n_entries;
        s->end_pos = group_end(g);
        l->durable_index = g->last_index;
        l->durable_term = g->last_term;
        l->named_durable_index = w->named_durable_index;
        l->named_commit_index = w->named_commit_index;
        l->pending_bytes -= g->size - GROUP_HEADER_BYTES;

        l->stats.n_groups++;
        l->stats.n_syncs++;
        l->stats.n_group_entries += g->n_entries;
        l->stats.bytes_since_open += group_padded_bytes(g->size);
        l->stats.last_sync_usec = usec_sub(now, w->begun_usec);
        histogram_add(&l->stats.sync_usec, l->stats.last_sync_usec);

        r = index_group(l, g);
        l->writing = NULL;
        release_group(l, g);
        if (r < 0) {
                fail(l, r, "indexing what was written");
                return;
        }

        try_start(l);
        if (!io_job_is_pending(&w->job) && !l->has_failed)
                set_idle_timer(l);

        l->events->on_synced(l->userdata, s->last_index); /* I2 */
        if (l->is_over_budget && l->pending_bytes <= l->config.append_budget_bytes / 2) {
                l->is_over_budget = false;
                l->events->on_drained(l->userdata);
        }
}

/* Fills the header in, now that it is known what is durable and committed, and submits. */
static void start_group(struct shard_log *l, struct group *g) {
        struct group_write *w = &l->write;
        struct segment *s = newest(l);
        const size_t n_padded = (size_t) group_padded_bytes(g->size);
        struct group_header header = {
                .first_index = g->first_index,
                .last_index = g->last_index,
                .last_term = g->last_term,
                .durable_index = l->durable_index,
                .durable_term = l->durable_term,
                .commit_index = nameable_commit_index(l),
                .length_bytes = (uint32_t) g->size,
        };
        int r;

        if (g->rolls) {
                r = prepare_roll(l, g);
                if (r < 0) {
                        write_clear(w);
                        fail(l, r, "preparing the next segment");
                        return;
                }
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
        w->job.n_bytes = w->next ? MAX(n_padded, (size_t) LARGE_JOB_BYTES) : n_padded;
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
                fail(l, r, "writing term and vote");
                return;
        }

        l->hardstate = l->save.hardstate;
        try_start(l);
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
        l->last_index = l->durable_index = found->last_index;
        l->last_term = l->durable_term = found->last_term;
        l->last_time_ms = found->last_time_ms;
        l->commit_index = MAX(l->commit_index, found->commit_index);
        l->named_durable_index = found->named_durable_index;
        l->named_commit_index = found->named_commit_index;
        l->tail_is_damaged = found->report.tail_is_damaged;

        s = newest(l);
        l->plan = (struct log_plan){};
        if (s)
                l->plan = (struct log_plan){
                        .pos = s->end_pos,
                        .salt = s->header.salt,
                        .is_used = s->end_pos > SEGMENT_HEADER_BYTES,
                };
}

static void on_truncate_done(struct io_job *job, int r) {
        struct shard_log *l = CONTAINER_OF(job, struct shard_log, truncate.job);

        if (r < 0) {
                fail(l, r, "truncating the log");
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

        if (io_job_is_pending(&j->job) || io_job_is_pending(&l->write.job) ||
            io_job_is_pending(&l->zero.job) || io_job_is_pending(&l->save.job) ||
            !list_is_empty(&l->index_jobs))
                return; /* J5 */

        j->hardstate_file = l->hardstate_file;
        j->hardstate = l->hardstate;
        io_submit(l->io, IO_LANE_LOG, &j->job);
}

/* Starts whatever can be started: called whenever something ended or was asked for. */
static void try_start(struct shard_log *l) {
        struct group *g;

        if (l->has_failed)
                return;
        if (l->truncate_is_pending) {
                start_truncate(l);
                return;
        }

        if (l->tail_is_damaged)
                return;

        g = list_first(&l->groups, struct group, link);
        if (g && !io_job_is_pending(&l->write.job)) {
                const uint64_t end = group_end(g) + SEGMENT_FOOTER_BYTES;

                if (!g->rolls && end <= newest(l)->zeroed_pos) /* J4 */
                        start_group(l, g);
                else if (g->rolls && !io_job_is_pending(&l->zero.job) &&
                         end <= l->next_zeroed_pos) /* J3 */
                        start_group(l, g);
        }

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
        l->zero_step_bytes = ZERO_STEP_BYTES_MIN;
        l->idle_timer = (struct io_timer){ .on_timer = on_idle_timer, .userdata = l };
        l->space_timer = (struct io_timer){ .on_timer = on_space_timer, .userdata = l };
        l->write.job =
                (struct io_job){ .run = run_group, .done = on_group_done, .queue = config->shard };
        l->write.dir = config->dir;
        l->zero.job = (struct io_job){ .run = run_zero, .done = on_zero_done };
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
        io_cancel(l->io, &l->zero.job);
        io_cancel(l->io, &l->save.job);
        io_cancel(l->io, &l->truncate.job);
        LIST_FOREACH(&l->index_jobs, j, struct index_job, link) {
                io_cancel(l->io, &j->job);
                index_job_free(j);
        }
        io_timer_cancel(l->io, &l->idle_timer);
        io_timer_cancel(l->io, &l->space_timer);

        LIST_FOREACH(&l->groups, g, struct group, link)
                group_free(g);
        group_free(l->writing);
        group_free(l->spare);
        write_clear(&l->write);
        zero_clear(&l->zero);
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
        if (l->is_short_of_space && !has_zeroed_room(l, n)) {
                l->is_space_wanted = true;
                zero_ahead(l);
                return -ENOSPC;
        }

        g = list_last(&l->groups, struct group, link);
        if (!g || !group_takes(l, g, n))
                r = begin_group(l, n, &g);
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
                try_start(l); /* a group is full */
        return 0;
}

void shard_log_flush(struct shard_log *l) {
        assert(l);
        try_start(l);
}

void shard_log_set_commit(struct shard_log *l, uint64_t commit_index) {
        assert(l);

        l->commit_index = MAX(l->commit_index, commit_index);
        if (!l->has_failed && !l->tail_is_damaged && !l->idle_is_set &&
            !io_job_is_pending(&l->write.job) && list_is_empty(&l->groups) &&
            !l->truncate_is_pending && has_news_for_header(l))
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
        try_start(l);
        return 0;
}

void shard_log_stats(const struct shard_log *l, struct shard_log_stats *ret) {
        assert(l);
        assert(ret);

        *ret = l->stats;
        ret->n_segments = l->n_segments;
        ret->pending_bytes = l->pending_bytes;
        ret->is_short_of_space = l->is_short_of_space;
        for (size_t i = 0; i < l->n_segments; i++) {
                const struct segment *s = l->segments[i];

                ret->n_bytes += s->is_closed ? s->end_pos + SEGMENT_FOOTER_BYTES : s->zeroed_pos;
        }
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
        assert(to_index <= l->durable_index);

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
