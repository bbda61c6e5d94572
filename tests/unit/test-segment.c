/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of a segment file, and the steps by which a file is made, begun and closed. */
#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/segment.h"
#include "tests/lib/test.h"
#include "tests/sim/disk.h"

#define SALT UINT32_C(0xfeedbeef)

static const struct segment_header header = {
        .shard = 3,
        .first_index = 1000,
        .generation = 2,
        .previous_term = 9,
        .created_ms = 1700000000000,
        .salt = SALT,
};
static const struct segment_footer footer = {
        .last_index = 1999,
        .last_term = 12,
        .commit_index = 1990,
        .n_entries = 1000,
        .pos = 8192,
        .last_time_ms = 1700000000123,
};
static const struct group_header group = {
        .first_index = 1000,
        .last_index = 1009,
        .last_term = 9,
        .durable_index = 999,
        .durable_term = 8,
        .commit_index = 998,
        .length_bytes = 5000,
        .n_zero_sectors = 3,
};

TEST(headers_and_footers_are_read_as_they_were_written) {
        uint8_t p[SEGMENT_HEADER_BYTES];
        struct segment_header h;
        struct segment_footer f;
        struct group_header g;

        segment_header_encode(&header, p);
        ASSERT_OK(segment_header_decode(p, &h));
        ASSERT_EQ(h.shard, header.shard);
        ASSERT_EQ(h.first_index, header.first_index);
        ASSERT_EQ(h.generation, header.generation);
        ASSERT_EQ(h.previous_term, header.previous_term);
        ASSERT_EQ(h.created_ms, header.created_ms);
        ASSERT_EQ(h.salt, header.salt);

        segment_footer_encode(&footer, SALT, p);
        ASSERT_OK(segment_footer_decode(p, SALT, &f));
        ASSERT_EQ(f.last_index, footer.last_index);
        ASSERT_EQ(f.last_term, footer.last_term);
        ASSERT_EQ(f.commit_index, footer.commit_index);
        ASSERT_EQ(f.n_entries, footer.n_entries);
        ASSERT_EQ(f.pos, footer.pos);
        ASSERT_EQ(f.last_time_ms, footer.last_time_ms);

        group_header_encode(&group, SALT, p);
        ASSERT_OK(group_header_decode(p, SALT, &g));
        ASSERT_EQ(g.first_index, group.first_index);
        ASSERT_EQ(g.last_index, group.last_index);
        ASSERT_EQ(g.last_term, group.last_term);
        ASSERT_EQ(g.durable_index, group.durable_index);
        ASSERT_EQ(g.durable_term, group.durable_term);
        ASSERT_EQ(g.commit_index, group.commit_index);
        ASSERT_EQ(g.length_bytes, group.length_bytes);
        ASSERT_EQ(g.n_zero_sectors, group.n_zero_sectors);
}

TEST(no_flipped_bit_passes) {
        uint8_t p[SEGMENT_HEADER_BYTES];
        struct segment_header h;
        struct segment_footer f;
        struct group_header g;

        segment_header_encode(&header, p);
        for (size_t bit = 0; bit < SEGMENT_HEADER_BYTES * 8u; bit++) {
                p[bit / 8] ^= (uint8_t) (1 << bit % 8);
                ASSERT_ERROR(segment_header_decode(p, &h), EBADMSG);
                p[bit / 8] ^= (uint8_t) (1 << bit % 8);
        }
        segment_footer_encode(&footer, SALT, p);
        for (size_t bit = 0; bit < SEGMENT_FOOTER_BYTES * 8u; bit++) {
                p[bit / 8] ^= (uint8_t) (1 << bit % 8);
                ASSERT_ERROR(segment_footer_decode(p, SALT, &f), EBADMSG);
                p[bit / 8] ^= (uint8_t) (1 << bit % 8);
        }
        group_header_encode(&group, SALT, p);
        for (size_t bit = 0; bit < GROUP_HEADER_BYTES * 8u; bit++) {
                p[bit / 8] ^= (uint8_t) (1 << bit % 8);
                ASSERT_ERROR(group_header_decode(p, SALT, &g), EBADMSG);
                p[bit / 8] ^= (uint8_t) (1 << bit % 8);
        }
}

TEST(another_salt_does_not_pass) {
        uint8_t p[SEGMENT_HEADER_BYTES];
        struct segment_footer f;
        struct group_header g;

        segment_footer_encode(&footer, SALT, p);
        ASSERT_ERROR(segment_footer_decode(p, SALT ^ 1, &f), EBADMSG);
        group_header_encode(&group, SALT, p);
        ASSERT_ERROR(group_header_decode(p, SALT ^ 1, &g), EBADMSG);
        memset(p, 0, sizeof(p));
        ASSERT_ERROR(segment_header_decode(p, &(struct segment_header){}), EBADMSG);
        ASSERT_ERROR(segment_footer_decode(p, 0, &f), EBADMSG);
        ASSERT_ERROR(group_header_decode(p, 0, &g), EBADMSG);
}

TEST(a_newer_format_is_said) {
        uint8_t p[SEGMENT_HEADER_BYTES];

        segment_header_encode(&header, p);
        le32_store(p + 8, LOG_FORMAT_VERSION + 1);
        ASSERT_ERROR(segment_header_decode(p, &(struct segment_header){}),
                     EBADMSG); /* not its checksum */
        le32_store(p, crc32c(0, p + 4, SEGMENT_HEADER_BYTES - 4));
        ASSERT_ERROR(segment_header_decode(p, &(struct segment_header){}), EPROTONOSUPPORT);
}

TEST(numbers_that_contradict_each_other_are_refused) {
        struct group_header g, bad[] = { group, group, group, group, group, group, group, group };
        uint8_t p[SEGMENT_FOOTER_BYTES];
        struct segment_footer f = footer;

        bad[0].last_index = group.first_index - 2;
        bad[1].last_index = group.first_index - 1; /* empty, and yet long */
        bad[2].length_bytes = GROUP_HEADER_BYTES;  /* not empty, and yet short */
        bad[3].length_bytes = GROUP_BYTES_MAX + 1;
        bad[4].n_zero_sectors = 10; /* all of them: its header's sector never is */
        bad[5].durable_index = group.first_index;
        bad[6].commit_index = group.last_index + 1;
        bad[7].first_index = 0;
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                group_header_encode(bad + i, SALT, p);
                ASSERT_ERROR(group_header_decode(p, SALT, &g), EBADMSG);
        }

        bad[0] = (struct group_header){ .first_index = 1, .length_bytes = GROUP_HEADER_BYTES };
        group_header_encode(bad, SALT, p);
        ASSERT_OK(group_header_decode(p, SALT, &g)); /* an empty one at the very beginning */

        f.pos = 8193;
        segment_footer_encode(&f, SALT, p);
        ASSERT_ERROR(segment_footer_decode(p, SALT, &f), EBADMSG);
}

TEST(zero_sectors_are_counted) {
        static uint8_t p[10 * LOG_SECTOR_BYTES];

        ASSERT_EQ(count_zero_sectors(p, sizeof(p)), 10);
        ASSERT_EQ(count_zero_sectors(p, 0), 0);
        p[0] = 1;
        p[3 * LOG_SECTOR_BYTES - 1] = 1;
        p[9 * LOG_SECTOR_BYTES + 200] = 0x80;
        ASSERT_EQ(count_zero_sectors(p, sizeof(p)), 7);
}

TEST(names_of_segments) {
        char *path = segment_path("d", 4711, ".log");
        uint64_t v = 5;

        ASSERT_STREQ(path, "d/00000000000000004711.log");
        ASSERT_TRUE(segment_name_parse(path + 2, &v));
        ASSERT_EQ(v, 4711);
        mem_free(path);
        ASSERT_TRUE(segment_name_parse("18446744073709551615.log", &v));
        ASSERT_EQ(v, UINT64_MAX);

        v = 5;
        ASSERT_FALSE(segment_name_parse("18446744073709551616.log", &v));
        ASSERT_FALSE(segment_name_parse("00000000000000000000.log", &v));
        ASSERT_FALSE(segment_name_parse("0000000000000000001.log", &v));
        ASSERT_FALSE(segment_name_parse("00000000000000000001.idx", &v));
        ASSERT_FALSE(segment_name_parse("0000000000000000000x.log", &v));
        ASSERT_FALSE(segment_name_parse("next.new", &v));
        ASSERT_EQ(v, 5);
}

/* Whatever happens, under the final name stands a file with its header and with the space that was
 * zeroed. */
TEST(a_file_gets_its_name_when_it_is_whole) {
        for (uint64_t seed = 0; seed < 30; seed++) {
                for (uint64_t n = 1;; n++) {
                        struct sim_disk *d;
                        struct io *io;
                        struct io_file *file = NULL;
                        struct segment *s = NULL;
                        bool has_crashed, was_begun = false;
                        int r;

                        ASSERT_OK(sim_disk_new(seed * 100 + n, &d));
                        io = sim_disk_io(d);
                        ASSERT_OK(io_mkdir(io, "d"));
                        ASSERT_OK(io_sync_dir(io, "."));
                        sim_disk_crash_at(d, n);
                        r = segment_make_file(io, "d/next.new", 1 << 20, &file);
                        if (r >= 0)
                                was_begun = segment_begin(io,
                                                          file,
                                                          &header,
                                                          "d",
                                                          "d/next.new",
                                                          "d/00000000000000001000.log") >= 0;
                        has_crashed = sim_disk_has_crashed(d);
                        sim_disk_power_cut(d);
                        file = io_file_unref(file);
                        sim_disk_restart(d);

                        r = segment_open(io, "d", 3, 1000, IO_OPEN_READ, &s);
                        if (was_begun)
                                ASSERT_OK(r);
                        if (r >= 0) {
                                uint64_t size;

                                ASSERT_EQ(s->header.salt, SALT);
                                ASSERT_EQ(s->last_index, 999);
                                ASSERT_EQ(s->last_term, 9);
                                ASSERT_OK(io_file_size(s->file, &size));
                                ASSERT_EQ(size, 1 << 20);
                        } else
                                ASSERT_ERROR(r, ENOENT);
                        segment_unref(s);
                        sim_disk_free(d);
                        if (!has_crashed)
                                break;
                }
        }
}

TEST(a_file_of_another_shard_or_index_is_refused) {
        struct sim_disk *d;
        struct io *io;
        struct io_file *file = NULL;
        struct segment *s = NULL;

        ASSERT_OK(sim_disk_new(1, &d));
        io = sim_disk_io(d);
        ASSERT_OK(segment_make_file(io, "next.new", SEGMENT_HEADER_BYTES, &file));
        ASSERT_OK(segment_begin(io, file, &header, ".", "next.new", "./00000000000000001001.log"));
        ASSERT_ERROR(segment_open(io, ".", 3, 1001, IO_OPEN_READ, &s), EBADMSG);
        ASSERT_OK(io_rename(io, "./00000000000000001001.log", "./00000000000000001000.log"));
        ASSERT_ERROR(segment_open(io, ".", 4, 1000, IO_OPEN_READ, &s), EBADMSG);
        ASSERT_OK(segment_open(io, ".", 3, 1000, IO_OPEN_READ, &s));
        s = segment_unref(s);
        ASSERT_OK(io_truncate(file, 100));
        ASSERT_ERROR(segment_open(io, ".", 3, 1000, IO_OPEN_READ, &s), EBADMSG);
        io_file_unref(file);
        sim_disk_free(d);
}

TEST(a_failed_make_leaves_no_file) {
        struct sim_disk *d;
        struct io *io;
        struct io_file *file = NULL;

        ASSERT_OK(sim_disk_new(1, &d));
        io = sim_disk_io(d);
        sim_disk_set_capacity(d, 64 * 1024);
        ASSERT_ERROR(segment_make_file(io, "next.new", 1 << 20, &file), ENOSPC);
        ASSERT_NULL(file);
        ASSERT_ERROR(io_stat(io, "next.new", &(struct io_stat){}), ENOENT);
        sim_disk_set_capacity(d, 0);
        ASSERT_OK(segment_make_file(io, "next.new", 1 << 20, &file));
        file = io_file_unref(file);
        ASSERT_OK(segment_make_file(io, "next.new", 1 << 20, &file)); /* over what a crash left */
        io_file_unref(file);
        sim_disk_free(d);
}

TEST(a_closed_file_ends_behind_its_footer) {
        struct sim_disk *d;
        struct io_file *file = NULL;
        uint8_t p[SEGMENT_FOOTER_BYTES];
        struct segment_footer f;
        uint64_t size;

        ASSERT_OK(sim_disk_new(1, &d));
        ASSERT_OK(segment_make_file(sim_disk_io(d), "next.new", 1 << 20, &file));
        ASSERT_OK(io_sync_dir(sim_disk_io(d), "."));
        ASSERT_OK(segment_close(file, &footer, SALT));
        file = io_file_unref(file);
        sim_disk_power_cut(d);
        sim_disk_restart(d);
        ASSERT_OK(sim_disk_peek_size(d, "next.new", &size));
        ASSERT_EQ(size, footer.pos + SEGMENT_FOOTER_BYTES);
        ASSERT_EQ(sim_disk_peek(d, "next.new", p, sizeof(p), footer.pos), (ssize_t) sizeof(p));
        ASSERT_OK(segment_footer_decode(p, SALT, &f));
        sim_disk_free(d);
}
