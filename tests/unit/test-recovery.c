/* SPDX-License-Identifier: Apache-2.0 */
/* What a start makes of what it finds: unfinished writes are cut, corruption is kept, and nobody
 * takes one for the other. */
#include "base/messages.h"
#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "log/checkpoint.h"
#include "log/reader.h"
#include "log/recovery.h"
#include "log/segment.h"
#include "tests/lib/log-fixture.h"
#include "tests/lib/test.h"

#define FIRST_FILE LOG_FIXTURE_DIR "/00000000000000000001.log"
#define N_GROUPS_MAX 64u

/* The group writes of the first file, by position; the last of them ends at pos[n]. */
struct groups {
        size_t n;
        uint64_t pos[N_GROUPS_MAX + 1];
        struct group_header header[N_GROUPS_MAX];
};

static void find_groups(struct log_fixture *f, struct groups *ret) {
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        uint8_t p[GROUP_HEADER_BYTES];

        ASSERT_OK(segment_open(f->io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, 1, IO_OPEN_READ, &s));
        ret->n = 0;
        ret->pos[0] = SEGMENT_HEADER_BYTES;
        while (ret->n < N_GROUPS_MAX) {
                struct group_header *g = ret->header + ret->n;

                if (io_pread(s->file, p, sizeof(p), ret->pos[ret->n], 0) < (ssize_t) sizeof(p) ||
                    group_header_decode(p, s->header.salt, g) < 0)
                        return;
                ret->pos[ret->n + 1] = ret->pos[ret->n] + group_padded_bytes(g->length_bytes);
                ret->n++;
        }
}

static void
overwrite(struct log_fixture *f, const char *path, const void *p, size_t n, uint64_t pos) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;

        ASSERT_OK(io_open(f->io, path, IO_OPEN_WRITE, &file));
        ASSERT_OK(io_pwrite(file, p, n, pos));
        ASSERT_OK(io_fdatasync(file));
}

static void zero(struct log_fixture *f, const char *path, uint64_t pos, size_t n) {
        _cleanup_(mem_freep) uint8_t *zeroes = mem_alloc0(n);

        overwrite(f, path, zeroes, n, pos);
}

static uint8_t *snapshot(struct log_fixture *f, const char *path, size_t *ret_n) {
        uint64_t size = 0;
        uint8_t *p;

        ASSERT_OK(sim_disk_peek_size(f->disk, path, &size));
        p = mem_alloc(size);
        ASSERT_EQ(sim_disk_peek(f->disk, path, p, size, 0), (ssize_t) size);
        *ret_n = size;
        return p;
}

/* @n groups of four entries each, none of which names itself as durable; closed. */
static void make_log(struct log_fixture *f, unsigned n) {
        log_fixture_init(f, 1);
        ASSERT_OK(log_fixture_open(f));
        for (unsigned i = 0; i < n; i++)
                ASSERT_OK(log_fixture_write(f, 4));
        log_fixture_close(f);
}

/* And an empty one behind them, which does. */
static void make_named_log(struct log_fixture *f, unsigned n) {
        log_fixture_init(f, 1);
        ASSERT_OK(log_fixture_open(f));
        for (unsigned i = 0; i < n; i++)
                ASSERT_OK(log_fixture_write(f, 4));
        sim_disk_advance(f->disk, USEC_PER_SEC);
        sim_disk_run_jobs(f->disk);
        log_fixture_close(f);
}

/* Reads all that can be read; what is served is right. Return: how many entries are not served. */
static uint64_t count_missing(struct log_fixture *f, uint64_t last) {
        _cleanup_(log_scan_freep) struct log_scan *scan = NULL;
        uint64_t n_found = 0, last_seen = 0;
        int r;

        if (shard_log_durable_index(f->log) == 0)
                return last;
        ASSERT_OK(shard_log_scan(f->log,
                                 1,
                                 MIN(last, shard_log_durable_index(f->log)),
                                 ENTRY_VERIFY_BATCHES,
                                 &scan));
        for (;;) {
                struct entry e, want;

                r = log_scan_next(scan, &e);
                if (r == 0)
                        return last - n_found;
                if (r == -EBADMSG)
                        continue;
                ASSERT_EQ(r, 1);
                ASSERT_GT(e.index, last_seen);
                last_seen = e.index;
                n_found++;
                log_fixture_entry(e.index, 1, f->entry_bytes, &want);
                ASSERT_EQ(e.kind, want.kind);
                ASSERT_EQ(e.n_slices, want.n_slices);
                ASSERT_EQ(e.body_bytes, want.body_bytes);
                if (e.body_bytes > 0)
                        ASSERT_MEM(e.body, want.body, e.body_bytes);
        }
}

static void
assert_untouched(struct log_fixture *f, const char *path, const uint8_t *before, size_t n_before) {
        size_t n;
        _cleanup_(mem_freep) uint8_t *now = snapshot(f, path, &n);

        ASSERT_EQ(n, n_before);
        ASSERT_MEM(now, before, n);
}

/* ---- Unfinished writes ---- */

TEST(a_group_whose_header_sector_is_zero_is_cut) {
        struct log_fixture f;
        struct groups g;

        make_log(&f, 3);
        find_groups(&f, &g);
        ASSERT_EQ(g.n, 3);
        ASSERT_GT(g.pos[3] - g.pos[2], LOG_SECTOR_BYTES);
        zero(&f, FIRST_FILE, g.pos[2], LOG_SECTOR_BYTES);

        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.cut_index, 9);
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        ASSERT_FALSE(f.report.tail_is_damaged);
        ASSERT_STREQ(f.said,
                     "A write to shard 1 did not finish and was cut: the log ends before entry 9");
        ASSERT_EQ(strncmp(f.fields,
                          DRMQ_MESSAGE_RECOVERY_CUT " DRMQ_SHARD=1 DRMQ_INDEX=9 DRMQ_FILE=",
                          32 + strlen(" DRMQ_SHARD=1 DRMQ_INDEX=9 DRMQ_FILE=")),
                  0);
        log_fixture_check(&f, 1, 8, NULL);

        /* The rest of it is gone from the disk: something shorter written there is followed by
         * zeroes. */
        {
                size_t n;
                _cleanup_(mem_freep) uint8_t *p = snapshot(&f, FIRST_FILE, &n);

                ASSERT_EQ(count_zero_sectors(p + g.pos[2], n - g.pos[2]),
                          (n - g.pos[2]) / LOG_SECTOR_BYTES);
        }
        ASSERT_OK(log_fixture_write(&f, 1));
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        ASSERT_EQ(f.report.cut_index, 0);
        log_fixture_check(&f, 1, 9, NULL);
        log_fixture_done(&f);
}

TEST(a_group_with_more_zero_sectors_than_it_counts_is_cut) {
        struct groups g;
        struct log_fixture f;

        make_log(&f, 3);
        find_groups(&f, &g);
        for (uint64_t pos = g.pos[2] + LOG_SECTOR_BYTES; pos < g.pos[3]; pos += LOG_SECTOR_BYTES) {
                uint8_t sector[LOG_SECTOR_BYTES];

                ASSERT_EQ(sim_disk_peek(f.disk, FIRST_FILE, sector, sizeof(sector), pos),
                          (ssize_t) sizeof(sector));
                if (count_zero_sectors(sector, sizeof(sector)) == 1)
                        continue; /* zero by content: nothing is missing */
                zero(&f, FIRST_FILE, pos, LOG_SECTOR_BYTES);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.cut_index, 9);
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                ASSERT_EQ(shard_log_last_index(f.log), 8);
                ASSERT_EQ(shard_log_last_term(f.log), 1);
                ASSERT_EQ(shard_log_last_time_ms(f.log), 1008);
                log_fixture_check(&f, 1, 8, NULL);
                log_fixture_done(&f);
                make_log(&f, 3);
        }
        log_fixture_done(&f);
}

TEST(sectors_that_are_zero_by_content_do_not_make_a_group_unfinished) {
        struct log_fixture f;
        struct groups g;

        log_fixture_init(&f, 1);
        f.entry_bytes = 20000;
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 6)); /* the sixth is all zeroes */
        log_fixture_power_cut(&f);
        find_groups(&f, &g);
        ASSERT_GE(g.header[0].n_zero_sectors, 30);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.cut_index, 0);
        log_fixture_check(&f, 1, 6, NULL);
        log_fixture_done(&f);
}

TEST(a_cut_that_is_interrupted_is_a_cut_the_next_time) {
        for (uint64_t n = 1;; n++) {
                struct log_fixture f;
                struct groups g;
                bool has_crashed;

                make_log(&f, 2);
                f.entry_bytes = 5000;
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_OK(log_fixture_write(&f, 4));
                log_fixture_close(&f);
                f.entry_bytes = 0;
                find_groups(&f, &g);
                zero(&f, FIRST_FILE, g.pos[2], LOG_SECTOR_BYTES);

                sim_disk_crash_at(f.disk, n);
                (void) log_fixture_open(&f);
                has_crashed = sim_disk_has_crashed(f.disk);
                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                log_fixture_check(&f, 1, 8, NULL);
                log_fixture_done(&f);
                if (!has_crashed)
                        break;
        }
}

/* ---- Corruption ---- */

TEST(a_group_that_was_written_whole_is_never_cut) {
        struct groups g;
        struct log_fixture f;

        make_log(&f, 3);
        find_groups(&f, &g);
        /* Any bit of it: also of a header's sector, and of a length. */
        for (uint64_t pos = g.pos[2]; pos < g.pos[2] + g.header[2].length_bytes; pos += 11) {
                _cleanup_(mem_freep) uint8_t *before = NULL;
                size_t n;

                ASSERT_OK(sim_disk_flip_bit(f.disk, FIRST_FILE, pos, (unsigned) (pos % 8)));
                before = snapshot(&f, FIRST_FILE, &n);
                ASSERT_OK(log_fixture_open(&f));
                if (f.report.n_damaged_regions ==
                    0) { /* in an entry's padding, which says nothing */
                        log_fixture_check(&f, 1, 12, NULL);
                } else {
                        ASSERT_EQ(f.report.cut_index, 0);
                        ASSERT_EQ(f.report.n_damaged_regions, 1);
                        ASSERT_GE(f.report.first_damaged_index, 9);
                        ASSERT_TRUE(f.report.tail_is_damaged);
                        ASSERT_ERROR(log_fixture_append(&f, 1), EBADMSG);
                        ASSERT_LE(count_missing(&f, 12), 4);
                        sim_disk_advance(f.disk, USEC_PER_MINUTE);
                        sim_disk_run_jobs(f.disk);
                        assert_untouched(&f, FIRST_FILE, before, n);
                }
                log_fixture_close(&f);
                ASSERT_OK(sim_disk_flip_bit(f.disk, FIRST_FILE, pos, (unsigned) (pos % 8)));
        }
        log_fixture_done(&f);
}

TEST(what_is_named_durable_is_never_cut_however_unfinished_it_looks) {
        struct log_fixture f;
        struct groups g;
        _cleanup_(mem_freep) uint8_t *before = NULL;
        size_t n;

        make_named_log(&f, 3);
        find_groups(&f, &g);
        ASSERT_EQ(g.n, 4);
        zero(&f,
             FIRST_FILE,
             g.pos[2],
             LOG_SECTOR_BYTES); /* only its header: as an unfinished write would be */
        before = snapshot(&f, FIRST_FILE, &n);

        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.cut_index, 0);
        ASSERT_EQ(f.report.n_damaged_regions, 1);
        ASSERT_EQ(f.report.first_damaged_index, 9);
        ASSERT_EQ(f.report.named_durable_index, 12);
        ASSERT_TRUE(
                /* the last entries cannot be read: what offsets follow? */
                f.report.tail_is_damaged);
        ASSERT_GE(count_missing(&f, 12), 1); /* what lay in that sector; the rest is found again */
        assert_untouched(&f, FIRST_FILE, before, n);
        log_fixture_done(&f);
}

/* The header of an unfinished write is all that says that the bad group before it was durable: cut,
 * the next start would take that group for unfinished. */
TEST(an_unfinished_write_behind_damage_is_kept_as_its_witness) {
        struct log_fixture f;
        struct groups g;
        _cleanup_(mem_freep) uint8_t *before = NULL;
        size_t n;

        make_log(&f, 4);
        find_groups(&f, &g);
        zero(&f, FIRST_FILE, g.pos[2], LOG_SECTOR_BYTES);
        zero(&f, FIRST_FILE, g.pos[3] + LOG_SECTOR_BYTES, LOG_SECTOR_BYTES);
        before = snapshot(&f, FIRST_FILE, &n);
        for (unsigned i = 0; i < 2; i++) {
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.cut_index, 0);
                ASSERT_EQ(f.report.n_damaged_regions, 2);
                ASSERT_EQ(f.report.first_damaged_index, 9);
                ASSERT_EQ(f.report.named_durable_index, 12);
                ASSERT_TRUE(f.report.tail_is_damaged);
                log_fixture_close(&f);
        }
        assert_untouched(&f, FIRST_FILE, before, n);
        log_fixture_done(&f);
}

/* Named by a checkpoint: gone altogether, or as an unfinished write would look. */
TEST(a_lost_tail_below_a_checkpoint_is_corruption) {
        for (unsigned way = 0; way < 3; way++) {
                struct log_fixture f;
                struct groups g;
                _cleanup_(mem_freep) uint8_t *before = NULL;
                uint8_t body = 1;
                size_t n;

                make_log(&f, 3);
                find_groups(&f, &g);
                ASSERT_OK(checkpoint_write(
                        f.io,
                        LOG_FIXTURE_DIR,
                        LOG_FIXTURE_SHARD,
                        &(struct checkpoint){
                                .index = 10, .term = 1, .body = &body, .body_bytes = 1 }));
                if (way == 0)
                        zero(&f, FIRST_FILE, g.pos[2], (size_t) (g.pos[3] - g.pos[2]));
                else
                        zero(&f,
                             FIRST_FILE,
                             g.pos[2] + (way - 1) * LOG_SECTOR_BYTES,
                             LOG_SECTOR_BYTES);
                before = snapshot(&f, FIRST_FILE, &n);

                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.cut_index, 0);
                ASSERT_EQ(f.report.n_damaged_regions, 1);
                ASSERT_EQ(f.report.first_damaged_index, 9);
                ASSERT_EQ(f.report.named_durable_index, 10);
                ASSERT_TRUE(f.report.tail_is_damaged);
                if (way == 0)
                        ASSERT_STREQ(
                                f.said,
                                "Entries 9 to 10 of shard 1 are damaged: they are missing, and something "
                                "names them as durable");
                ASSERT_EQ(shard_log_last_index(f.log), way == 2 ? 12 : 8);
                ASSERT_ERROR(log_fixture_append(&f, 1), EBADMSG);
                assert_untouched(&f, FIRST_FILE, before, n);
                log_fixture_done(&f);
        }
}

/* After a failed sync the page cache shows a group that is not on disk, as clean. It is not taken
 * for the log's, and not a byte of it comes to disk with what is written there later. */
TEST(what_only_the_page_cache_holds_does_not_count_and_goes) {
        unsigned n_lies = 0;

        for (uint64_t seed = 0; seed < 30; seed++) {
                _cleanup_(io_file_unrefp) struct io_file *file = NULL;
                _cleanup_(mem_freep) uint8_t *p = mem_alloc(SEGMENT_BYTES_MIN);
                struct log_fixture f;
                uint64_t last;
                struct groups g;

                log_fixture_init(&f, seed);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_OK(log_fixture_write(&f, 4));
                ASSERT_OK(log_fixture_append(&f, 20));
                sim_disk_fail(f.disk, SIM_DISK_SYNC, ".log", 1, EIO);
                sim_disk_run_jobs(f.disk);
                ASSERT_EQ(f.error, -EIO);
                log_fixture_kill(&f);

                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                last = shard_log_last_index(f.log);
                ASSERT_TRUE(last == 4 || last == 24);
                n_lies += last == 4;
                ASSERT_OK(log_fixture_write(&f, 1));
                log_fixture_close(&f);

                /* Through the cache: behind what was written all is zero. */
                find_groups(&f, &g);
                ASSERT_OK(io_open(f.io, FIRST_FILE, IO_OPEN_READ, &file));
                ASSERT_EQ(io_pread(file, p, SEGMENT_BYTES_MIN, 0, 0), (ssize_t) SEGMENT_BYTES_MIN);
                ASSERT_EQ(count_zero_sectors(p + g.pos[g.n], SEGMENT_BYTES_MIN - g.pos[g.n]),
                          (SEGMENT_BYTES_MIN - g.pos[g.n]) / LOG_SECTOR_BYTES);
                file = io_file_unref(file);
                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                log_fixture_check(&f, 1, last + 1, NULL);
                log_fixture_done(&f);
        }
        ASSERT_GE(n_lies, 5);
}

TEST(behind_a_hole_the_log_goes_on) {
        for (unsigned way = 0; way < 4; way++) {
                struct log_fixture f;
                struct groups g;

                make_log(&f, 5);
                find_groups(&f, &g);
                if (way == 0) /* a header */
                        ASSERT_OK(sim_disk_flip_bit(f.disk, FIRST_FILE, g.pos[1] + 40, 3));
                else if (way == 1) /* a length */
                        ASSERT_OK(sim_disk_flip_bit(f.disk, FIRST_FILE, g.pos[1] + 33, 3));
                else if (way == 2) /* all of it, and a part of the next */
                        zero(&f,
                             FIRST_FILE,
                             g.pos[1],
                             (size_t) (g.pos[2] - g.pos[1] + LOG_SECTOR_BYTES));
                else /* sectors that cannot be read */
                        ASSERT_OK(sim_disk_break_range(
                                f.disk, FIRST_FILE, g.pos[1], LOG_SECTOR_BYTES));

                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.cut_index, 0);
                ASSERT_EQ(f.report.n_damaged_regions, 1);
                if (way < 3)
                        ASSERT_EQ(f.report.first_damaged_index, 5);
                ASSERT_FALSE(f.report.tail_is_damaged);
                ASSERT_EQ(shard_log_last_index(f.log), 20);
                if (way < 3)
                        ASSERT_LE(count_missing(&f, 20),
                                  way == 2 ? 8 : 0); /* its entries are good */

                /* It may be written to: the bad part is kept, and stays known. */
                ASSERT_OK(log_fixture_write(&f, 4));
                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 1);
                ASSERT_EQ(shard_log_last_index(f.log), 24);
                log_fixture_done(&f);
        }
}

TEST(what_cannot_be_read_counts_as_damaged_not_as_zero) {
        struct log_fixture f;
        struct groups g;

        make_log(&f, 3);
        find_groups(&f, &g);
        ASSERT_OK(sim_disk_break_range(f.disk, FIRST_FILE, g.pos[2], LOG_SECTOR_BYTES));
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.cut_index, 0);
        ASSERT_TRUE(f.report.tail_is_damaged);
        ASSERT_ERROR(log_fixture_append(&f, 1), EBADMSG);
        log_fixture_done(&f);
}

TEST(one_bad_entry_leaves_its_neighbours) {
        struct log_fixture f;
        struct groups g;

        make_log(&f, 3);
        find_groups(&f, &g);
        /* In the first entry of the second group: its body, not its length. */
        ASSERT_OK(sim_disk_flip_bit(
                f.disk, FIRST_FILE, g.pos[1] + GROUP_HEADER_BYTES + ENTRY_HEADER_BYTES + 5, 1));
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 1);
        ASSERT_EQ(f.report.first_damaged_index, 5);
        ASSERT_FALSE(f.report.tail_is_damaged);
        ASSERT_EQ(f.report.n_entries_read, 11);
        ASSERT_EQ(count_missing(&f, 12), 1);
        ASSERT_OK(log_fixture_write(&f, 1));
        log_fixture_done(&f);
}

/* A payload that is itself a piece of this very file: with its salt, on a sector's boundary. Where
 * the header before it is damaged, the search for the next good one comes across it. */
TEST(payload_that_is_an_image_of_the_log_is_not_taken_for_it) {
        for (unsigned damage = 0; damage < 2; damage++) {
                struct log_fixture f;
                struct groups g;
                uint8_t *image;
                size_t n;
                struct entry e;

                make_log(&f, 3);
                image = snapshot(&f, FIRST_FILE, &n);
                find_groups(&f, &g);
                ASSERT_OK(log_fixture_open(&f));
                /* The body begins GROUP_HEADER_BYTES + ENTRY_HEADER_BYTES behind a boundary. */
                e = (struct entry){
                        .index = 13,
                        .term = 1,
                        .append_time_ms = 2000,
                        .kind = ENTRY_ADMIN,
                        .body = image + GROUP_HEADER_BYTES + ENTRY_HEADER_BYTES,
                        .body_bytes =
                                (uint32_t) (g.pos[3] - GROUP_HEADER_BYTES - ENTRY_HEADER_BYTES),
                };
                ASSERT_OK(shard_log_append(f.log, &e));
                shard_log_flush(f.log);
                sim_disk_run_jobs(f.disk);
                ASSERT_EQ(f.synced_index, 13);
                log_fixture_close(&f);
                mem_free(image);

                if (damage > 0)
                        ASSERT_OK(sim_disk_flip_bit(f.disk, FIRST_FILE, g.pos[3] + 10, 0));
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, damage);
                ASSERT_EQ(f.report.cut_index, 0);
                ASSERT_EQ(f.report.tail_is_damaged, damage > 0); /* nothing good is behind it */
                ASSERT_EQ(shard_log_last_index(f.log), damage > 0 ? 12 : 13);
                ASSERT_EQ(count_missing(&f, 12), 0);
                log_fixture_done(&f);
        }
}

/* ---- Files ---- */

/* Four segments: 1..10, 11..20, 21..30, 31.. */
static void make_segments(struct log_fixture *f) {
        log_fixture_init(f, 1);
        f->entry_bytes = 100 * 1000;
        ASSERT_OK(log_fixture_open(f));
        for (unsigned i = 0; i < 33; i++)
                ASSERT_OK(log_fixture_write(f, 1));
        log_fixture_close(f);
}

#define SECOND_FILE LOG_FIXTURE_DIR "/00000000000000000011.log"
#define NEWEST_FILE LOG_FIXTURE_DIR "/00000000000000000031.log"

TEST(a_missing_file_in_the_middle_is_corruption) {
        struct log_fixture f;

        make_segments(&f);
        ASSERT_OK(io_unlink(f.io, SECOND_FILE));
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 1);
        ASSERT_EQ(f.report.first_damaged_index, 11);
        ASSERT_STREQ(f.said, "Entries 11 to 20 of shard 1 are damaged: a file is missing");
        ASSERT_FALSE(f.report.tail_is_damaged);
        ASSERT_EQ(count_missing(&f, 33), 10);
        log_fixture_done(&f);
}

TEST(missing_first_files_are_corruption_unless_a_checkpoint_holds_what_was_in_them) {
        for (uint64_t index = 9; index <= 10; index++) {
                struct log_fixture f;
                uint8_t body = 1;

                make_segments(&f);
                ASSERT_OK(io_unlink(f.io, FIRST_FILE));
                ASSERT_OK(checkpoint_write(
                        f.io,
                        LOG_FIXTURE_DIR,
                        LOG_FIXTURE_SHARD,
                        &(struct checkpoint){
                                .index = index, .term = 1, .body = &body, .body_bytes = 1 }));
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, index == 9);
                ASSERT_EQ(shard_log_first_index(f.log), 11);
                log_fixture_check(&f, 11, 33, NULL);
                log_fixture_done(&f);
        }
}

TEST(a_bad_footer_is_corruption_and_what_is_good_is_served) {
        struct log_fixture f;
        uint64_t size;

        make_segments(&f);
        ASSERT_OK(sim_disk_peek_size(f.disk, SECOND_FILE, &size));
        ASSERT_OK(sim_disk_flip_bit(f.disk, SECOND_FILE, size - SEGMENT_FOOTER_BYTES + 9, 1));
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 1);
        ASSERT_EQ(f.report.first_damaged_index, 11);
        ASSERT_FALSE(f.report.tail_is_damaged);
        ASSERT_EQ(count_missing(&f, 33), 0);
        log_fixture_done(&f);
}

TEST(a_bad_header_block_is_corruption_of_its_file_alone) {
        struct log_fixture f;

        make_segments(&f);
        ASSERT_OK(sim_disk_flip_bit(f.disk, SECOND_FILE, 41, 1));
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 1);
        ASSERT_EQ(f.report.first_damaged_index, 11);
        ASSERT_FALSE(f.report.tail_is_damaged);
        ASSERT_EQ(count_missing(&f, 33), 10);
        ASSERT_OK(log_fixture_write(&f, 3));
        log_fixture_done(&f);

        /* Of the newest: how far it went nobody knows. */
        make_segments(&f);
        ASSERT_OK(sim_disk_flip_bit(f.disk, NEWEST_FILE, 41, 1));
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 1);
        ASSERT_EQ(f.report.first_damaged_index, 31);
        ASSERT_TRUE(f.report.tail_is_damaged);
        ASSERT_ERROR(log_fixture_append(&f, 1), EBADMSG);
        ASSERT_EQ(shard_log_last_index(f.log), 30);
        ASSERT_EQ(count_missing(&f, 30), 0);
        log_fixture_done(&f);
}

TEST(the_only_file_with_a_bad_header_block) {
        struct log_fixture f;

        make_log(&f, 3);
        ASSERT_OK(sim_disk_flip_bit(f.disk, FIRST_FILE, 41, 1));
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_TRUE(f.report.tail_is_damaged);
        ASSERT_EQ(shard_log_last_index(f.log), 0);
        ASSERT_ERROR(log_fixture_append(&f, 1), EBADMSG);
        shard_log_flush(f.log);
        sim_disk_advance(f.disk, USEC_PER_SEC);
        ASSERT_EQ(sim_disk_run_jobs(f.disk), 0);
        log_fixture_done(&f);
}

TEST(a_newer_format_and_no_file_at_all_are_refused) {
        struct log_fixture f;
        uint8_t block[SEGMENT_HEADER_BYTES];

        make_segments(&f);
        ASSERT_EQ(sim_disk_peek(f.disk, SECOND_FILE, block, sizeof(block), 0),
                  (ssize_t) sizeof(block));
        le32_store(block + 8, LOG_FORMAT_VERSION + 1);
        le32_store(block, crc32c(0, block + 4, sizeof(block) - 4));
        overwrite(&f, SECOND_FILE, block, sizeof(block), 0);
        ASSERT_ERROR(log_fixture_open(&f), EPROTONOSUPPORT);
        ASSERT_NULL(f.log);
        log_fixture_done(&f);

        make_log(&f, 1);
        ASSERT_OK(io_unlink(f.io, FIRST_FILE));
        ASSERT_ERROR(log_fixture_open(&f), EBADMSG);
        ASSERT_ERROR(io_stat(f.io, FIRST_FILE, &(struct io_stat){}), ENOENT);
        log_fixture_done(&f);

        make_log(&f, 1);
        ASSERT_OK(io_unlink(f.io, LOG_FIXTURE_DIR "/" HARDSTATE_FILE_NAME));
        ASSERT_ERROR(log_fixture_open(&f), EBADMSG);
        log_fixture_done(&f);
}

TEST(what_was_prepared_ahead_is_removed) {
        struct log_fixture f;

        make_log(&f, 1);
        {
                _cleanup_(io_file_unrefp) struct io_file *file = NULL;

                ASSERT_OK(segment_make_file(f.io, LOG_FIXTURE_DIR "/" NEXT_FILE_NAME, 8192, &file));
        }
        {
                _cleanup_(io_file_unrefp) struct io_file *file = NULL;

                ASSERT_OK(segment_make_file(
                        f.io, LOG_FIXTURE_DIR "/" TRUNCATE_FILE_NAME, 8192, &file));
        }
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_ERROR(io_stat(f.io, LOG_FIXTURE_DIR "/" NEXT_FILE_NAME, &(struct io_stat){}),
                     ENOENT);
        ASSERT_ERROR(io_stat(f.io, LOG_FIXTURE_DIR "/" TRUNCATE_FILE_NAME, &(struct io_stat){}),
                     ENOENT);
        log_fixture_done(&f);
}

/* A crash between the footer and the next file: the newest file is closed, perhaps not yet cut
 * behind its footer. */
TEST(a_file_that_was_closed_last_gets_its_successor) {
        for (unsigned way = 0; way < 2; way++) {
                struct log_fixture f;
                struct groups g;

                make_log(&f, 3);
                find_groups(&f, &g);
                {
                        _cleanup_(segment_unrefp) struct segment *s = NULL;
                        uint8_t block[SEGMENT_FOOTER_BYTES];
                        struct segment_footer footer = {
                                .last_index = 12,
                                .last_term = 1,
                                .commit_index = 7,
                                .n_entries = 12,
                                .pos = g.pos[3],
                                .last_time_ms = 1012,
                        };

                        ASSERT_OK(segment_open(f.io,
                                               LOG_FIXTURE_DIR,
                                               LOG_FIXTURE_SHARD,
                                               1,
                                               IO_OPEN_READ | IO_OPEN_WRITE,
                                               &s));
                        segment_footer_encode(&footer, s->header.salt, block);
                        if (way == 0)
                                ASSERT_OK(segment_close(s->file, &footer, s->header.salt));
                        else
                                overwrite(&f, FIRST_FILE, block, sizeof(block), g.pos[3]);
                }

                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                ASSERT_EQ(shard_log_commit_index(f.log), 7);
                ASSERT_EQ(shard_log_last_time_ms(f.log), 1012);
                ASSERT_EQ(shard_log_last_term(f.log), 1);
                log_fixture_check(&f, 1, 12, NULL);
                {
                        uint64_t size;

                        ASSERT_OK(sim_disk_peek_size(f.disk, FIRST_FILE, &size));
                        ASSERT_EQ(size, g.pos[3] + SEGMENT_FOOTER_BYTES);
                }
                ASSERT_OK(log_fixture_write(&f, 2));
                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                log_fixture_check(&f, 1, 14, NULL);
                log_fixture_done(&f);
        }
}

TEST(a_file_that_was_closed_last_and_is_damaged_stays_as_it_is) {
        struct log_fixture f;
        struct groups g;
        _cleanup_(mem_freep) uint8_t *before = NULL;
        size_t n;

        make_log(&f, 3);
        find_groups(&f, &g);
        {
                _cleanup_(segment_unrefp) struct segment *s = NULL;
                struct segment_footer footer = {
                        .last_index = 12,
                        .last_term = 1,
                        .n_entries = 12,
                        .pos = g.pos[3],
                        .last_time_ms = 1012,
                };

                ASSERT_OK(segment_open(f.io,
                                       LOG_FIXTURE_DIR,
                                       LOG_FIXTURE_SHARD,
                                       1,
                                       IO_OPEN_READ | IO_OPEN_WRITE,
                                       &s));
                ASSERT_OK(segment_close(s->file, &footer, s->header.salt));
        }
        ASSERT_OK(sim_disk_flip_bit(f.disk, FIRST_FILE, g.pos[2] + 20, 1));
        before = snapshot(&f, FIRST_FILE, &n);
        for (unsigned i = 0; i < 2; i++) {
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 1);
                ASSERT_EQ(f.report.first_damaged_index, 9);
                ASSERT_TRUE(f.report.tail_is_damaged);
                ASSERT_EQ(shard_log_last_index(f.log), 12);
                log_fixture_close(&f);
                assert_untouched(&f, FIRST_FILE, before, n);
        }
        log_fixture_done(&f);
}

TEST(an_empty_newest_file_knows_the_time_and_term_before_it) {
        struct log_fixture f;

        make_segments(&f);
        /* Truncated to the end of a closed file, the newest is empty. */
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(shard_log_truncate(f.log, 30));
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.n_truncated, 1);
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        ASSERT_EQ(shard_log_last_index(f.log), 30);
        ASSERT_EQ(shard_log_last_term(f.log), 1);
        ASSERT_EQ(shard_log_last_time_ms(f.log), 1030);
        log_fixture_done(&f);
}

/* ---- At random ---- */

/* Any bits anywhere in the files: what is served is right, what is not served is reported (by the
 * start, or, in a closed file, to who reads it), nothing is cut, and nothing is written over what
 * is bad. */
TEST(flipped_bits_never_lose_anything_silently, .timeout_sec = 60) {
        struct random random;

        random_init(&random, 4711);
        for (unsigned round = 0; round < 150; round++) {
                static const char *const paths[] = { FIRST_FILE, SECOND_FILE, NEWEST_FILE };
                struct log_fixture f;
                uint64_t n_missing;
                unsigned n_flips = (unsigned) random_between(&random, 1, 4);

                if (round % 3 == 0)
                        make_segments(&f);
                else if (round % 3 == 1)
                        make_log(&f, 8);
                else
                        make_named_log(&f, 8);
                for (unsigned i = 0; i < n_flips; i++) {
                        const char *path =
                                paths[round % 3 == 0 ? random_below(&random, ELEMENTSOF(paths))
                                                     : 0];
                        uint64_t size = 0;

                        ASSERT_OK(sim_disk_peek_size(f.disk, path, &size));
                        if (random_chance(&random, 1, 2)) /* the headers are where it matters */
                                size = MIN(size, UINT64_C(20000));
                        ASSERT_OK(sim_disk_flip_bit(f.disk,
                                                    path,
                                                    random_below(&random, size),
                                                    (unsigned) random_below(&random, 8)));
                }

                ASSERT_OK(log_fixture_open(&f));
                /* A bit far behind the end looks like an unfinished write: nothing is lost by
                 * zeroing it. */
                if (f.report.cut_index > 0)
                        ASSERT_EQ(f.report.cut_index, round % 3 == 0 ? 34 : 33);
                n_missing = count_missing(&f, round % 3 == 0 ? 33 : 32);
                if (n_missing > 0 && round % 3 != 0)
                        ASSERT_GT(f.report.n_damaged_regions, 0);
                if (shard_log_last_index(f.log) < (round % 3 == 0 ? 33 : 32))
                        ASSERT_TRUE(f.report.tail_is_damaged);
                if (f.report.tail_is_damaged)
                        ASSERT_ERROR(log_fixture_append(&f, 1), EBADMSG);
                log_fixture_done(&f);
        }
}

TEST(no_memory_at_a_start_changes_nothing) {
        struct log_fixture f;
        struct groups g;

        make_log(&f, 3);
        find_groups(&f, &g);
        zero(&f, FIRST_FILE, g.pos[2], LOG_SECTOR_BYTES); /* there is something to cut */
        {
                _cleanup_(recovered_freep) struct recovered *found = NULL;
                FAULT_SWEEP {
                        int r = recovery_run(
                                f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, NULL, &found);

                        if (r < 0) {
                                ASSERT_ERROR(r, ENOMEM);
                                ASSERT_NULL(found);
                                continue;
                        }
                        ASSERT_EQ(found->last_index, 8);
                        found = recovered_free(found);
                }
        }
        log_fixture_done(&f);
}

/* ---- Groups that were reported before they were synced ---- */

/* @n groups of four entries each; @synced of them are synced, and the one behind those names them. */
static void make_weak_log(struct log_fixture *f, unsigned n, unsigned synced, struct groups *ret) {
        log_fixture_init(f, 1);
        f->config.sync_usec = USEC_INFINITY;
        ASSERT_OK(log_fixture_open(f));
        for (unsigned i = 0; i < n; i++) {
                if (i == synced && i > 0) {
                        ASSERT_OK(shard_log_sync(f->log));
                        sim_disk_run_jobs(f->disk);
                }
                ASSERT_OK(log_fixture_write(f, 4));
        }
        log_fixture_close(f);
        find_groups(f, ret);
        ASSERT_EQ(ret->n, n);
        for (unsigned i = 0; i < n; i++) {
                ASSERT_TRUE(ret->header[i].is_weak);
                ASSERT_EQ(ret->header[i].durable_index, i >= synced ? 4 * synced : 0);
                ASSERT_GT(ret->pos[i + 1] - ret->pos[i], 2 * LOG_SECTOR_BYTES);
        }
}

/* The log ends before the fourth group of six, for good. */
static void check_cut_at_fourth(struct log_fixture *f, const struct groups *g) {
        static const uint8_t zero_bytes[LOG_SECTOR_BYTES];
        uint8_t p[LOG_SECTOR_BYTES];

        ASSERT_OK(log_fixture_open(f));
        ASSERT_EQ(f->report.n_damaged_regions, 0);
        ASSERT_FALSE(f->report.tail_is_damaged);
        ASSERT_EQ(f->report.cut_index, 13);
        ASSERT_EQ(f->report.lost_index, 24);
        ASSERT_STREQ(f->said,
                     "Entries 13 to 24 of shard 1 were not synced yet and are lost: the log ends "
                     "before them");
        log_fixture_check(f, 1, 12, NULL);
        for (uint64_t pos = g->pos[3]; pos < g->pos[6]; pos += sizeof(p)) {
                ASSERT_EQ(sim_disk_peek_durable(f->disk, FIRST_FILE, p, sizeof(p), pos),
                          (ssize_t) sizeof(p));
                ASSERT_MEM(p, zero_bytes, sizeof(p));
        }

        ASSERT_OK(log_fixture_write(f, 20));
        ASSERT_OK(shard_log_sync(f->log));
        sim_disk_run_jobs(f->disk);
        log_fixture_power_cut(f);
        ASSERT_OK(log_fixture_open(f));
        ASSERT_EQ(f->report.n_damaged_regions, 0);
        log_fixture_check(f, 1, 32, NULL);
        log_fixture_done(f);
}

TEST(above_what_is_named_durable_a_weak_log_ends_at_the_first_group_that_is_missing) {
        struct log_fixture f;
        struct groups g;

        make_weak_log(&f, 6, 0, &g);
        zero(&f, FIRST_FILE, g.pos[3], LOG_SECTOR_BYTES);
        check_cut_at_fourth(&f, &g);
}

TEST(above_what_is_named_durable_a_weak_log_ends_at_the_first_group_that_lacks_a_sector) {
        struct log_fixture f;
        struct groups g;

        make_weak_log(&f, 6, 2, &g);
        zero(&f, FIRST_FILE, g.pos[3] + LOG_SECTOR_BYTES, LOG_SECTOR_BYTES);
        zero(&f, FIRST_FILE, g.pos[4], LOG_SECTOR_BYTES);
        check_cut_at_fourth(&f, &g);
}

TEST(a_cut_of_several_groups_that_is_cut_short_is_begun_again) {
        for (uint64_t n = 1;; n++) {
                struct log_fixture f;
                struct groups g;
                bool has_crashed;

                make_weak_log(&f, 6, 2, &g);
                zero(&f, FIRST_FILE, g.pos[3] + LOG_SECTOR_BYTES, LOG_SECTOR_BYTES);
                sim_disk_crash_at(f.disk, n);
                (void) log_fixture_open(&f);
                has_crashed = sim_disk_has_crashed(f.disk);
                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                ASSERT_FALSE(f.report.tail_is_damaged);
                log_fixture_check(&f, 1, 12, NULL);
                log_fixture_done(&f);
                if (!has_crashed)
                        break;
        }
}

TEST(what_was_written_whole_and_is_bad_is_kept_in_a_weak_log_too) {
        struct log_fixture f;
        struct groups g;

        make_weak_log(&f, 6, 0, &g);
        ASSERT_OK(sim_disk_flip_bit(f.disk, FIRST_FILE, g.pos[3] + 100, 3));
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 1);
        ASSERT_EQ(f.report.cut_index, 0);
        ASSERT_FALSE(f.report.tail_is_damaged);
        ASSERT_EQ(shard_log_last_index(f.log), 24);
        ASSERT_LE(count_missing(&f, 24), 4);
        log_fixture_done(&f);
}

TEST(what_a_weak_log_names_durable_is_never_cut) {
        struct log_fixture f;
        struct groups g;
        _cleanup_(mem_freep) uint8_t *before = NULL;
        size_t n;

        make_weak_log(&f, 6, 5, &g);
        zero(&f, FIRST_FILE, g.pos[1], LOG_SECTOR_BYTES);
        before = snapshot(&f, FIRST_FILE, &n);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 1);
        ASSERT_EQ(f.report.first_damaged_index, 5);
        ASSERT_EQ(f.report.cut_index, 0);
        ASSERT_EQ(shard_log_last_index(f.log), 24);
        ASSERT_EQ(count_missing(&f, 24), 1); /* in the sector that is zero now */
        log_fixture_close(&f);
        assert_untouched(&f, FIRST_FILE, before, n);
        log_fixture_done(&f);
}

/* The last group did not finish, and is the only one to say that the second was durable once: with
 * its header gone the next start would cut from there. */
TEST(a_header_that_alone_tells_damage_from_what_is_unfinished_is_not_cut) {
        struct log_fixture f;
        struct groups g;
        _cleanup_(mem_freep) uint8_t *before = NULL;
        size_t n;

        make_weak_log(&f, 6, 5, &g);
        zero(&f, FIRST_FILE, g.pos[1], LOG_SECTOR_BYTES);
        zero(&f, FIRST_FILE, g.pos[5] + LOG_SECTOR_BYTES, LOG_SECTOR_BYTES);
        before = snapshot(&f, FIRST_FILE, &n);
        for (unsigned i = 0; i < 2; i++) {
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 2);
                ASSERT_EQ(f.report.first_damaged_index, 5);
                ASSERT_TRUE(f.report.tail_is_damaged);
                log_fixture_close(&f);
                assert_untouched(&f, FIRST_FILE, before, n);
        }
        log_fixture_done(&f);
}
