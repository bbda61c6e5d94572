/* SPDX-License-Identifier: Apache-2.0 */

/* Tests scans of log/reader.h: every entry once, in order, from anywhere to anywhere; each gap is
 * said once. */

#include "base/alloc.h"
#include "base/random.h"
#include "log/cursor.h"
#include "log/reader.h"
#include "log/shard-log-internal.h"
#include "tests/lib/log-fixture.h"
#include "tests/unit/test-log-samples.h"

static void fixture_init(struct log_fixture *f, uint64_t seed, uint64_t n, size_t entry_bytes) {
        log_fixture_init(f, seed);
        ASSERT_OK(log_fixture_open(f));
        f->entry_bytes = entry_bytes;
        for (uint64_t i = 0; i < n; i += 13)
                ASSERT_OK(log_fixture_write(f, MIN(n - i, UINT64_C(13))));
        ASSERT_EQ(f->synced_index, n);
}

/* All that stands in the segments, from the disk itself. Returns the group headers' or entries'
 * places. */
struct place {
        const char *path;
        uint64_t pos;
        uint64_t first_index; /* of an entry: its own */
        uint64_t last_index;
        size_t n_bytes;
};

static size_t
find_places(const struct log_fixture *f, bool groups, struct place *ret, size_t n_max) {
        size_t n = 0;

        for (size_t i = 0; i < f->log->n_segments; i++) {
                const struct segment *s = f->log->segments[i];
                uint8_t *p = malloc(s->end_pos);
                struct entry_slice slices[64];

                ASSERT_NOT_NULL(p);
                ASSERT_EQ(sim_disk_peek(f->disk, s->path, p, s->end_pos, 0), s->end_pos);
                for (uint64_t pos = SEGMENT_HEADER_BYTES; pos < s->end_pos;) {
                        struct group_header g;
                        struct entry e;
                        uint64_t end;
                        size_t k;

                        ASSERT_OK(group_header_decode(p + pos, s->header.salt, &g));
                        end = pos + g.length_bytes;
                        if (groups) {
                                ASSERT_LT(n, n_max);
                                ret[n++] = (struct place){
                                        s->path, pos, g.first_index, g.last_index, g.length_bytes
                                };
                        }
                        for (uint64_t at = pos + GROUP_HEADER_BYTES; !groups && at < end; at += k) {
                                ASSERT_OK(entry_decode(p + at,
                                                       end - at,
                                                       s->header.salt,
                                                       ENTRY_VERIFY_BATCHES,
                                                       slices,
                                                       ELEMENTSOF(slices),
                                                       &e,
                                                       &k));
                                ASSERT_LT(n, n_max);
                                ret[n++] = (struct place){ s->path, at, e.index, e.index, k };
                        }
                        pos += group_padded_bytes(g.length_bytes);
                }
                free(p);
        }
        return n;
}

static void assert_entry(const struct log_fixture *f, const struct entry *e) {
        struct entry expected;

        log_fixture_entry(e->index, 1, f->entry_bytes, &expected);
        ASSERT_EQ(e->term, 1);
        ASSERT_EQ(e->kind, expected.kind);
        ASSERT_EQ(e->append_time_ms, expected.append_time_ms);
        ASSERT_EQ(e->n_slices, expected.n_slices);
        ASSERT_EQ(e->body_bytes, expected.body_bytes);
        if (e->n_slices == 0)
                ASSERT_MEM(e->body, expected.body, e->body_bytes);
        for (unsigned i = 0; i < e->n_slices; i++) {
                ASSERT_EQ(e->slices[i].partition_id, expected.slices[i].partition_id);
                ASSERT_EQ(e->slices[i].base_offset, expected.slices[i].base_offset);
                ASSERT_EQ(e->slices[i].batch_bytes, expected.slices[i].batch_bytes);
                ASSERT_MEM(e->slices[i].batch + BATCH_CHECKED_FROM,
                           expected.slices[i].batch + BATCH_CHECKED_FROM,
                           e->slices[i].batch_bytes - BATCH_CHECKED_FROM);
        }
}

/* Scans; entries that come must be right and ascend. @is_missing (may be NULL) says which must not
 * come: all others must. Returns how often -EBADMSG came. */
static unsigned scan(const struct log_fixture *f,
                     uint64_t from,
                     uint64_t to,
                     enum entry_verify verify,
                     const bool *is_missing,
                     uint64_t *ret_bytes_read) {
        _cleanup_(log_scan_freep) struct log_scan *s = NULL;
        uint64_t next = from;
        unsigned n_bad = 0;
        bool was_bad = false;
        struct entry e;
        int r;

        ASSERT_OK(shard_log_scan(f->log, from, to, verify, &s));
        for (;;) {
                r = log_scan_next(s, &e);
                if (r == 0)
                        break;
                if (r == -EBADMSG) {
                        ASSERT_FALSE(was_bad && verify == ENTRY_VERIFY_HEADER); /* once a gap */
                        was_bad = true;
                        n_bad++;
                        continue;
                }
                ASSERT_EQ(r, 1);
                for (; next < e.index; next++)
                        ASSERT_TRUE(is_missing && is_missing[next] && was_bad);
                ASSERT_EQ(e.index, next);
                ASSERT_TRUE(!is_missing || !is_missing[next]);
                if (verify == ENTRY_VERIFY_BATCHES || !is_missing)
                        assert_entry(f, &e);
                next++;
                was_bad = false;
        }
        for (; next <= to; next++)
                ASSERT_TRUE(is_missing && is_missing[next] && was_bad);

        if (ret_bytes_read)
                *ret_bytes_read = log_scan_bytes_read(s);
        return n_bad;
}

TEST(all_entries_come_in_order) {
        struct log_fixture f;

        fixture_init(&f, 1, 2000, 2000);
        ASSERT_GT(f.log->n_segments, 2);
        ASSERT_EQ(scan(&f, 1, 2000, ENTRY_VERIFY_HEADER, NULL, NULL), 0);
        ASSERT_EQ(scan(&f, 1, 2000, ENTRY_VERIFY_BATCHES, NULL, NULL), 0);
        log_fixture_done(&f);
}

TEST(from_anywhere_to_anywhere) {
        struct log_fixture f;
        struct random random;

        fixture_init(&f, 1, 2000, 2000);
        random_init(&random, 1);
        for (unsigned i = 0; i < 40; i++) {
                uint64_t from = random_between(&random, 1, 2000);

                ASSERT_EQ(scan(&f,
                               from,
                               random_between(&random, from, 2000),
                               ENTRY_VERIFY_BATCHES,
                               NULL,
                               NULL),
                          0);
        }
        ASSERT_EQ(scan(&f, 5, 4, ENTRY_VERIFY_BATCHES, NULL, NULL), 0);
        ASSERT_EQ(scan(&f, 2001, 2000, ENTRY_VERIFY_BATCHES, NULL, NULL), 0);
        log_fixture_done(&f);
}

TEST(the_end_costs_little) {
        uint64_t n_bytes;
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        f.entry_bytes = 100000;
        for (unsigned i = 0; i < 10; i++)
                ASSERT_OK(log_fixture_write(&f, 9));
        ASSERT_EQ(scan(&f, 90, 90, ENTRY_VERIFY_BATCHES, NULL, &n_bytes), 0);
        ASSERT_LT(n_bytes, 2u << 20);
        log_fixture_done(&f);
}

TEST(entries_of_all_kinds_come) {
        struct log_fixture f;

        fixture_init(&f, 1, 500, 0);
        ASSERT_EQ(scan(&f, 1, 500, ENTRY_VERIFY_BATCHES, NULL, NULL), 0);
        log_fixture_kill(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(scan(&f, 1, 500, ENTRY_VERIFY_BATCHES, NULL, NULL), 0);
        log_fixture_done(&f);
}

TEST(a_damaged_entry_is_said_once_and_left_out) {
        struct place places[300];
        struct log_fixture f;
        size_t n;

        fixture_init(&f, 1, 200, 2000);
        n = find_places(&f, /* groups= */ false, places, ELEMENTSOF(places));
        ASSERT_EQ(n, 200);
        for (size_t i = 0; i < n; i += 9)
                for (size_t at = 0; at < ENTRY_HEADER_BYTES; at += 7) {
                        bool is_missing[201] = {};

                        is_missing[i + 1] = true;
                        ASSERT_OK(sim_disk_flip_bit(f.disk, places[i].path, places[i].pos + at, 3));
                        ASSERT_EQ(scan(&f, 1, 200, ENTRY_VERIFY_HEADER, is_missing, NULL), 1);
                        ASSERT_EQ(scan(&f, 1, 200, ENTRY_VERIFY_BATCHES, is_missing, NULL), 1);
                        ASSERT_EQ(scan(&f, i + 1, 200, ENTRY_VERIFY_HEADER, is_missing, NULL), 1);
                        /* Damage outside of what is asked for is nobody's business. */
                        if (i > 0)
                                ASSERT_EQ(scan(&f, 1, i, ENTRY_VERIFY_HEADER, NULL, NULL), 0);
                        if (i < 199)
                                ASSERT_EQ(scan(&f, i + 2, 200, ENTRY_VERIFY_HEADER, NULL, NULL), 0);
                        ASSERT_OK(sim_disk_flip_bit(f.disk, places[i].path, places[i].pos + at, 3));
                }
        log_fixture_done(&f);
}

TEST(a_damaged_batch_counts_when_batches_are_verified) {
        struct place places[300];
        bool is_missing[201] = {};
        struct log_fixture f;
        unsigned n_bad = 0;

        fixture_init(&f, 1, 200, 2000);
        ASSERT_EQ(find_places(&f, /* groups= */ false, places, ELEMENTSOF(places)), 200);
        for (size_t i = 20; i < 30; i++) {
                struct entry e;

                log_fixture_entry(i + 1, 1, f.entry_bytes, &e);
                if (e.kind != ENTRY_PRODUCE)
                        continue;
                ASSERT_OK(sim_disk_flip_bit(
                        f.disk, places[i].path, places[i].pos + places[i].n_bytes - 100, 3));
                is_missing[i + 1] = true;
                n_bad++;
        }
        ASSERT_GT(n_bad, 2);
        ASSERT_EQ(scan(&f, 1, 200, ENTRY_VERIFY_BATCHES, is_missing, NULL), n_bad);
        memset(is_missing, 0, sizeof(is_missing));
        ASSERT_EQ(scan(&f, 1, 200, ENTRY_VERIFY_HEADER, is_missing, NULL), 0);
        log_fixture_done(&f);
}

TEST(a_damaged_group_header_loses_no_entry) {
        struct place places[100];
        struct log_fixture f;
        size_t n;

        fixture_init(&f, 1, 200, 2000);
        n = find_places(&f, /* groups= */ true, places, ELEMENTSOF(places));
        ASSERT_GT(n, 10);
        for (size_t i = 0; i < n; i += 2)
                ASSERT_OK(sim_disk_flip_bit(f.disk, places[i].path, places[i].pos + i % 64, 3));
        ASSERT_EQ(scan(&f, 1, 200, ENTRY_VERIFY_BATCHES, NULL, NULL), 0);
        log_fixture_done(&f);
}

TEST(lost_sectors_are_one_gap) {
        struct place places[100];
        struct log_fixture f;
        size_t n;

        fixture_init(&f, 1, 200, 2000);
        n = find_places(&f, /* groups= */ true, places, ELEMENTSOF(places));
        for (size_t i = 0; i < n; i += 5) {
                size_t n_zero = (size_t) group_padded_bytes(places[i].n_bytes);
                _cleanup_(io_file_unrefp) struct io_file *file = NULL;
                _cleanup_(mem_freep) uint8_t *zero = mem_alloc0(n_zero), *kept = mem_alloc0(n_zero);
                bool is_missing[201] = {};

                ASSERT_TRUE(zero && kept);
                if (places[i].last_index < places[i].first_index)
                        continue;
                for (uint64_t index = places[i].first_index; index <= places[i].last_index; index++)
                        is_missing[index] = true;
                ASSERT_OK(io_open(f.io, places[i].path, IO_OPEN_READ | IO_OPEN_WRITE, &file));
                ASSERT_OK(io_pread(file, kept, n_zero, places[i].pos, 0));
                ASSERT_OK(io_pwrite(file, zero, n_zero, places[i].pos));
                ASSERT_EQ(scan(&f, 1, 200, ENTRY_VERIFY_BATCHES, is_missing, NULL), 1);
                ASSERT_OK(io_pwrite(file, kept, n_zero, places[i].pos));
        }
        log_fixture_done(&f);
}

TEST(any_damage_is_seen_and_costs_no_more_than_it_hits, .timeout_sec = 60) {
        for (uint64_t seed = 0; seed < 40; seed++) {
                struct place places[300];
                bool is_missing[201] = {};
                struct log_fixture f;
                struct random random;

                fixture_init(&f, seed, 200, 1000);
                random_init(&random, seed);
                ASSERT_EQ(find_places(&f, /* groups= */ false, places, ELEMENTSOF(places)), 200);
                for (unsigned i = 0; i < 15; i++) {
                        const struct place *p = places + random_below(&random, 200);
                        uint64_t at = random_below(&random, p->n_bytes);

                        if (is_missing[p->first_index])
                                continue; /* a second flip might mend the first */
                        if (at >= p->n_bytes - 8)
                                continue; /* padding holds nothing */
                        ASSERT_OK(sim_disk_flip_bit(
                                f.disk, p->path, p->pos + at, (unsigned) random_below(&random, 8)));
                        is_missing[p->first_index] = true;
                }
                ASSERT_GT(scan(&f, 1, 200, ENTRY_VERIFY_BATCHES, is_missing, NULL), 0);
                log_fixture_done(&f);
        }
}

TEST(a_missing_file_is_one_gap) {
        bool *is_missing;
        struct log_fixture f;
        uint64_t first, last;

        fixture_init(&f, 1, 2000, 2000);
        ASSERT_GT(f.log->n_segments, 3);
        first = f.log->segments[1]->header.first_index;
        last = f.log->segments[1]->last_index;
        log_fixture_close(&f);
        {
                _cleanup_(mem_freep) char *path = segment_path(LOG_FIXTURE_DIR, first, ".log");

                ASSERT_OK(io_unlink(f.io, path));
        }
        ASSERT_OK(log_fixture_open(&f));
        is_missing = new0(bool, 2001);
        ASSERT_NOT_NULL(is_missing);
        memset(is_missing + first, true, last - first + 1);
        ASSERT_EQ(scan(&f, 1, 2000, ENTRY_VERIFY_BATCHES, is_missing, NULL), 1);
        ASSERT_EQ(scan(&f, first, first, ENTRY_VERIFY_BATCHES, is_missing, NULL), 1);
        ASSERT_EQ(scan(&f, last + 1, 2000, ENTRY_VERIFY_BATCHES, is_missing, NULL), 0);
        mem_free(is_missing);
        log_fixture_done(&f);
}

/* A body that is made of the images of entries, each at a boundary of 8, all with the right salt
 * but for the last bit of the checksum; and a whole group write. */
TEST(images_of_entries_inside_of_payload_are_payload) {
        static const size_t image_at[] = { 0, 512 - GROUP_HEADER_BYTES - ENTRY_HEADER_BYTES, 1024 };
        uint8_t body[4096] = {};
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        _cleanup_(sample_segment_done) struct sample_segment s;
        _cleanup_(segment_cursor_done) struct segment_cursor c = {};
        const struct entry image = {
                .index = 2, .term = 1, .kind = ENTRY_ADMIN, .body = body, .body_bytes = 16
        };
        const struct group_header group = { .first_index = 2,
                                            .last_index = 5,
                                            .length_bytes = 2048 };
        struct entry e = {
                .index = 1, .term = 1, .kind = ENTRY_ADMIN, .body = body, .body_bytes = sizeof(body)
        };
        uint64_t pos;

        ASSERT_OK(sim_disk_new(1, &disk));
        sample_segment_init(&s, sim_disk_io(disk), ".", 1, 4711);
        for (size_t i = 0; i < ELEMENTSOF(image_at); i++)
                entry_encode(&image, /* salt= */ 4712, body + image_at[i]);
        group_header_encode(&group, /* salt= */ 4712, body + image_at[1]);
        (void) sample_segment_add(&s, &e);
        e.index = 2;
        (void) sample_segment_add(&s, &e);
        sample_segment_flush(&s);

        /* Even where the entry around them is bad. */
        ASSERT_OK(sim_disk_flip_bit(
                disk, s.segment->path, SEGMENT_HEADER_BYTES + GROUP_HEADER_BYTES + 9, 1));
        segment_cursor_init(&c, s.segment, s.segment->end_pos, 0);
        ASSERT_ERROR(segment_cursor_next(&c, ENTRY_VERIFY_HEADER, &e, &pos), EBADMSG);
        ASSERT_ERROR(segment_cursor_next(&c, ENTRY_VERIFY_HEADER, &e, &pos), EBADMSG);
        ASSERT_OK(segment_cursor_resync(&c));
        ASSERT_EQ(segment_cursor_next(&c, ENTRY_VERIFY_HEADER, &e, &pos), 1);
        ASSERT_EQ(e.index, 2);
        ASSERT_EQ(e.body_bytes, sizeof(body));
        ASSERT_EQ(segment_cursor_next(&c, ENTRY_VERIFY_HEADER, &e, &pos), 0);
}

/* Headers without a checksum that would each make a search read all that follows. */
TEST(a_search_past_damage_is_linear_whatever_lies_there, .timeout_sec = 10) {
        const size_t n = 8u << 20;
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        _cleanup_(sample_segment_done) struct sample_segment s;
        _cleanup_(segment_cursor_done) struct segment_cursor c = {};
        _cleanup_(mem_freep) uint8_t *body = mem_alloc0(n);
        struct entry e = {
                .index = 1, .term = 1, .kind = ENTRY_ADMIN, .body = body, .body_bytes = n
        };
        uint64_t pos;

        ASSERT_NOT_NULL(body);
        ASSERT_OK(sim_disk_new(1, &disk));
        sample_segment_init(&s, sim_disk_io(disk), ".", 1, 4711);
        for (size_t at = 0; at + 40 <= n; at += 40) {
                le32_store(body + at + 4, (uint32_t) (n - at));
                le64_store(body + at + 8, 2);
                body[at + 32] = ENTRY_ADMIN;
        }
        (void) sample_segment_add(&s, &e);
        sample_segment_flush(&s);
        e = (struct entry){ .index = 2, .term = 1, .kind = ENTRY_NOOP };
        (void) sample_segment_add(&s, &e);
        sample_segment_flush(&s);

        ASSERT_OK(sim_disk_flip_bit(
                disk, s.segment->path, SEGMENT_HEADER_BYTES + GROUP_HEADER_BYTES + 9, 1));
        segment_cursor_init(&c, s.segment, s.segment->end_pos, 0);
        ASSERT_ERROR(segment_cursor_next(&c, ENTRY_VERIFY_HEADER, &e, &pos), EBADMSG);
        ASSERT_OK(segment_cursor_resync(&c));
        ASSERT_EQ(segment_cursor_next(&c, ENTRY_VERIFY_HEADER, &e, &pos), 1);
        ASSERT_EQ(e.index, 2);
}

TEST(places_that_cannot_be_read_are_gaps) {
        struct place places[300];
        bool is_missing[201] = {};
        struct log_fixture f;
        uint64_t from, to;
        unsigned n_bad = 0;

        fixture_init(&f, 1, 200, 2000);
        log_fixture_kill(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(find_places(&f, /* groups= */ false, places, ELEMENTSOF(places)), 200);

        /* From the middle of one entry to the middle of another. */
        from = places[70].pos + 700;
        to = places[90].pos + 200;
        ASSERT_OK(sim_disk_break_range(f.disk, places[70].path, from, to - from));
        for (size_t i = 0; i < 200; i++)
                if (places[i].pos + places[i].n_bytes > from / 512 * 512 && places[i].pos < to)
                        is_missing[i + 1] = true;
        n_bad = scan(&f, 1, 200, ENTRY_VERIFY_BATCHES, is_missing, NULL);
        ASSERT_EQ(n_bad, 1);
        log_fixture_done(&f);
}

TEST(an_error_of_the_disk_or_no_memory_may_be_tried_again) {
        struct log_fixture f;

        fixture_init(&f, 1, 100, 1000);
        sim_disk_fail(f.disk, SIM_DISK_READ, NULL, 1, EIO);
        {
                _cleanup_(log_scan_freep) struct log_scan *s = NULL;
                struct entry e;

                ASSERT_OK(shard_log_scan(f.log, 50, 100, ENTRY_VERIFY_BATCHES, &s));
                for (uint64_t index = 50; index <= 100; index++) {
                        ASSERT_EQ(log_scan_next(s, &e), 1);
                        ASSERT_EQ(e.index, index);
                }
                ASSERT_EQ(log_scan_next(s, &e), 0);
                ASSERT_EQ(sim_disk_fail_clear(f.disk), 0);
        }

        FAULT_SWEEP {
                _cleanup_(log_scan_freep) struct log_scan *s = NULL;
                uint64_t index = 1;
                struct entry e;
                int r;

                r = shard_log_scan(f.log, 1, 100, ENTRY_VERIFY_BATCHES, &s);
                while (r >= 0 && index <= 100) {
                        r = log_scan_next(s, &e);
                        if (r >= 0)
                                ASSERT_EQ(e.index, index++);
                }
                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
        }
        log_fixture_done(&f);
}
