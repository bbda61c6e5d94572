/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps zeroed, synced space ahead of the log writer, and knows when there is none: a group write
 * only overwrites. Not here: where a group goes, and what may be appended (shard-log.c).
 *
 *  Z1  One job at most, and none beside a roll (J3 of shard-log.c).
 *  Z2  A step ahead of need leaves the reserve alone. What somebody waits for takes from it: it was
 *      accepted, or is of a kind that is never refused before the disk is full.
 *  Z3  Where the open file cannot grow, what is prepared of the next one is given back first, unless
 *      a roll waits for it: so at most once a segment.
 *  Z4  While space is short, a step is tried every second, if only of nothing; where one succeeds that
 *      leaves the reserve and an eighth more, there is space again.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/messages.h"
#include "log/recovery.h"
#include "log/shard-log-internal.h"

#define ZERO_STEP_BYTES_MAX (UINT64_C(16) << 20)
#define SPACE_RETRY_USEC USEC_PER_SEC
/* A step of zeroing that begins so soon after the last one is twice as large; so late, half as
 * large. */
#define ZERO_SOON_USEC USEC_PER_SEC
#define ZERO_LATE_USEC (10 * USEC_PER_SEC)
#define PAGE_BYTES 4096u
/* The reserve is no more than this part of the file system. */
#define RESERVE_PART 8u

static_assert(SEGMENT_BYTES_MIN >= ZERO_STEP_BYTES_MIN, "a new file is not longer than a segment");

static uint64_t effective_reserve(uint64_t reserve_bytes, uint64_t total_bytes) {
        return total_bytes > 0 ? MIN(reserve_bytes, total_bytes / RESERVE_PART) : reserve_bytes;
}

/* Whether the step would leave too little (Z2). */
static bool is_refused(const struct zero_job *z) {
        const uint64_t reserve = effective_reserve(z->reserve_bytes, z->total_bytes);

        if (z->may_use_reserve || (reserve == 0 && z->wanted_bytes == 0))
                return false;

        return z->free_bytes < z->to_pos - z->from_pos + z->wanted_bytes + reserve +
                                       (z->is_retry ? reserve / 8 : 0); /* Z4 */
}

static int run_zero(struct io_job *job) {
        struct zero_job *z = CONTAINER_OF(job, struct zero_job, job);
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        int r;

        if (z->gives_back) {
                r = io_unlink(job->io, z->path);
                return r == -ENOENT ? 0 : r;
        }

        if (io_space(job->io, z->dir, &z->free_bytes, &z->total_bytes) >= 0 && is_refused(z)) {
                z->is_refused = true;
                return -ENOSPC;
        }

        if (z->from_pos == z->to_pos)
                return 0;
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

void zero_done(struct zero_job *z) {
        z->made = io_file_unref(z->made);
        z->path = mem_free(z->path);
}

static bool is_short(const struct shard_log *l) {
        return l->is_short_of_space || l->is_below_reserve;
}

static void set_space_timer(struct shard_log *l) {
        int r;

        l->space_is_set = true;
        r = io_timer_set(l->io, &l->space_timer, usec_add(io_now(l->io), SPACE_RETRY_USEC));
        if (r < 0)
                shard_log_fail(l, r, "a timer");
}

static void note_short(struct shard_log *l, bool is_refused) {
        if (!is_short(l))
                trace(l->config.tracer,
                      LOG_WARNING,
                      DRMQ_MESSAGE_DISK_FULL,
                      FIELDS(FIELD_SHARD(l->config.shard),
                             FIELD_FILE(l->config.dir),
                             FIELD_ERROR(-ENOSPC)),
                      is_refused ? "Only the reserve is left for shard %" PRIu64
                                   " to grow, new messages are refused"
                                 : "There is no space for shard %" PRIu64
                                   " to grow, new entries are refused",
                      l->config.shard);
        l->is_below_reserve = true;
        l->is_short_of_space = l->is_short_of_space || !is_refused;
        l->zero_step_bytes = ZERO_STEP_BYTES_MIN;
        set_space_timer(l);
}

static void note_space(struct shard_log *l) {
        if (!is_short(l))
                return;

        l->is_short_of_space = l->is_below_reserve = false;
        l->wanted_bytes = 0;
        trace(l->config.tracer,
              LOG_NOTICE,
              DRMQ_MESSAGE_DISK_SPACE,
              FIELDS(FIELD_SHARD(l->config.shard), FIELD_FILE(l->config.dir)),
              "There is space again for shard %" PRIu64 " to grow",
              l->config.shard);
        l->events->on_drained(l->userdata);
}

/* Z3 */
static void start_giving_back(struct shard_log *l) {
        struct zero_job *z = &l->zero;

        z->path = mem_asprintf("%s/%s", l->config.dir, NEXT_FILE_NAME);
        if (!z->path) {
                shard_log_fail(l, -ENOMEM, "giving space back");
                return;
        }
        l->next_file = io_file_unref(l->next_file);
        l->next_zeroed_pos = 0;
        z->gives_back = true;
        io_submit(l->io, IO_LANE_BACKGROUND, &z->job);
}

static void on_zero_done(struct io_job *job, int r) {
        struct shard_log *l = CONTAINER_OF(job, struct shard_log, zero.job);
        struct zero_job *z = &l->zero;

        if (z->gives_back) {
                z->gives_back = false;
                zero_done(z);
                if (r < 0)
                        shard_log_fail(l, r, "giving space back");
                else
                        shard_log_try_start(l);
                return;
        }

        if (z->total_bytes > 0) {
                l->free_bytes = z->free_bytes;
                l->total_bytes = z->total_bytes;
        }
        if (r == -ENOSPC || r == -EDQUOT) {
                const bool is_refused = z->is_refused;
                const bool is_next = z->is_next;

                zero_done(z);
                if (!is_next && l->next_file && l->n_rolls == 0 && l->roll_index == 0)
                        start_giving_back(l);
                else {
                        note_short(l, is_refused);
                        if (!l->has_failed)
                                shard_log_try_start(l); /* what may take from the reserve */
                }
                return;
        }
        if (r < 0) {
                zero_done(z);
                shard_log_fail(l, r, "zeroing space ahead of the log");
                return;
        }

        if (z->makes)
                l->next_file = TAKE_PTR(z->made);
        if (z->is_next)
                l->next_zeroed_pos = z->to_pos;
        else
                shard_log_newest(l)->zeroed_pos = z->to_pos;
        zero_done(z);

        if (!z->may_use_reserve || z->reserve_bytes == 0)
                note_space(l);
        else
                l->is_short_of_space = false;
        shard_log_try_start(l);
}

/* Of the open file, or of the next one, from where it is zeroed on; at least up to @need_pos. */
static void
start_zeroing(struct shard_log *l, bool is_next, uint64_t need_pos, bool may_use_reserve) {
        struct zero_job *z = &l->zero;
        const usec_t now = io_now(l->io);
        const uint64_t from_pos = is_next ? l->next_zeroed_pos : shard_log_newest(l)->zeroed_pos;
        uint64_t step_bytes, to_pos;

        if (usec_sub(now, l->zero_usec) < ZERO_SOON_USEC)
                l->zero_step_bytes = MIN(l->zero_step_bytes * 2, ZERO_STEP_BYTES_MAX);
        else if (usec_sub(now, l->zero_usec) > ZERO_LATE_USEC)
                l->zero_step_bytes = MAX(l->zero_step_bytes / 2, ZERO_STEP_BYTES_MIN);
        if (is_short(l))
                l->zero_step_bytes = ZERO_STEP_BYTES_MIN;
        l->zero_usec = now;

        /* No further than the segment will need, but as far as one large group does. Who asked for a
         * roll waits for the next file: it begins small. */
        step_bytes = is_next && l->roll_index > 0 ? ZERO_STEP_BYTES_MIN : l->zero_step_bytes;
        to_pos = MIN(from_pos + step_bytes, l->config.segment_bytes);
        to_pos = MAX(from_pos, ALIGN_TO(MAX(to_pos, need_pos), PAGE_BYTES));

        z->path = is_next ? mem_asprintf("%s/%s", l->config.dir, NEXT_FILE_NAME)
                          : mem_strdup(shard_log_newest(l)->path);
        if (!z->path) {
                shard_log_fail(l, -ENOMEM, "zeroing space ahead of the log");
                return;
        }
        z->is_next = is_next;
        z->makes = is_next && !l->next_file;
        z->from_pos = from_pos;
        z->to_pos = to_pos;
        z->may_use_reserve = may_use_reserve;
        z->is_retry = is_short(l);
        z->is_refused = false;
        z->reserve_bytes = l->config.reserve_bytes;
        z->wanted_bytes = l->wanted_bytes;
        z->job.n_bytes = (size_t) (to_pos - from_pos);
        io_submit(l->io, IO_LANE_BACKGROUND, &z->job);
}

/* For the group that waits first, then ahead of what is planned. The next file is zeroed whole while
 * the one before it is written: in a file that grows, a group's sync would wait for the zeroes
 * behind it and for the journal of the file system (measured: 2.8 ms instead of 0.2). */
void zero_ahead(struct shard_log *l) {
        const struct group *first = list_first(&l->groups, struct group, link);
        const struct segment *s =
                shard_log_newest(l); /* there is one where something may be appended */
        const uint64_t need_pos = first ? group_end(first) + SEGMENT_FOOTER_BYTES : 0;
        const bool roll_is_near =
                l->n_rolls > 0 || l->roll_index > 0 || l->plan.pos > l->config.segment_bytes / 2;

        if (io_job_is_pending(&l->zero.job) || l->has_failed || l->truncate_is_pending ||
            l->write.next)
                return; /* a roll that is under way has both files to itself (Z1) */

        if (first && need_pos > (first->rolls ? l->next_zeroed_pos : s->zeroed_pos) &&
            !(l->is_short_of_space && l->space_is_set))
                start_zeroing(l, first->rolls, need_pos, /* may_use_reserve= */ true);
        else if (l->space_is_set)
                return; /* Z4 */
        else if (l->n_rolls == 0 && s->zeroed_pos < l->config.segment_bytes &&
                 (is_short(l) || s->zeroed_pos < l->plan.pos + l->zero_step_bytes / 4 * 3))
                start_zeroing(l, /* is_next= */ false, 0, false);
        else if (roll_is_near && !l->next_file)
                start_zeroing(l, /* is_next= */ true, SEGMENT_HEADER_BYTES, false);
        else if (roll_is_near && l->roll_index == 0 && l->next_zeroed_pos < l->config.segment_bytes)
                start_zeroing(
                        l, /* is_next= */ true, 0, false); /* whole, before it is written to */
        else if (is_short(l))
                start_zeroing(l, /* is_next= */ false, 0, false); /* of nothing: Z4 */
}

static void on_space_timer(struct io_timer *t, void *userdata) {
        struct shard_log *l = userdata;

        (void) t;
        l->space_is_set = false;
        shard_log_try_start(l);
}

void zero_init(struct shard_log *l) {
        l->zero_step_bytes = ZERO_STEP_BYTES_MIN;
        l->zero.dir = l->config.dir;
        l->zero.job = (struct io_job){ .run = run_zero, .done = on_zero_done };
        l->space_timer = (struct io_timer){ .on_timer = on_space_timer, .userdata = l };
}

uint64_t zero_reserve(const struct shard_log *l) {
        return effective_reserve(l->config.reserve_bytes, l->total_bytes);
}

void shard_log_set_reserve(struct shard_log *l, uint64_t reserve_bytes) {
        assert(l);
        l->config.reserve_bytes = reserve_bytes;
}
