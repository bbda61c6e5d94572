/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment files: the coding of their blocks (the tables are in log/format.h) and the steps by which
 * a file is made, begun and closed. What they hold is shard-log.c's to write and recovery.c's to
 * judge.
 *
 *  I1  A decoder looks at nothing but magic and version before the checksum is right.
 *  I2  A file gets its final name only when its header is synced, and a header only when its space
 *      is zeroed and synced; so under a final name there is never a file without a header.
 *  I3  A file ends behind its footer before a file that follows it gets its header.
 */
#include "log/segment.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/bug.h"
#include "base/crc32c.h"

#define SEGMENT_MAGIC UINT32_C(0x47535244) /* "DRSG" */
#define GROUP_MAGIC UINT32_C(0x57475244)   /* "DRGW" */
#define FOOTER_MAGIC UINT32_C(0x46535244)  /* "DRSF" */

/* In the number of zero sectors. */
#define GROUP_WEAK (UINT32_C(1) << 31)

#define ZERO_CHUNK_BYTES (UINT64_C(1) << 20)
#define INDEX_DIGITS 20u

static_assert(SEGMENT_HEADER_BYTES % LOG_SECTOR_BYTES == 0, "groups begin on a sector");
static_assert(SEGMENT_FOOTER_BYTES == LOG_SECTOR_BYTES, "a footer does not tear");
static_assert(GROUP_HEADER_BYTES <= LOG_SECTOR_BYTES, "a group's header does not tear");
static_assert(GROUP_HEADER_BYTES % 8 == 0, "entries begin on a boundary");

char *segment_path(const char *dir, uint64_t first_index, const char *suffix) {
        return mem_asprintf("%s/%020" PRIu64 "%s", dir, first_index, suffix);
}

/* 20 digits and @suffix. */
static bool name_parse(const char *name, const char *suffix, uint64_t *ret_first_index) {
        uint64_t v = 0;

        if (strlen(name) <= INDEX_DIGITS || !streq(name + INDEX_DIGITS, suffix))
                return false;

        for (unsigned i = 0; i < INDEX_DIGITS; i++) {
                if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
                    __builtin_add_overflow(v, (uint64_t) (name[i] - '0'), &v))
                        return false;
        }
        if (v == 0)
                return false;

        *ret_first_index = v;
        return true;
}

bool segment_name_parse(const char *name, uint64_t *ret_first_index) {
        return name_parse(name, ".log", ret_first_index);
}

bool index_name_parse(const char *name, uint64_t *ret_first_index) {
        return name_parse(name, ".idx", ret_first_index) ||
               name_parse(name, ".idx.new", ret_first_index);
}

int segment_list(struct io *io, const char *dir, uint64_t **ret, size_t *ret_n) {
        _cleanup_(mem_freep) uint64_t *indices = NULL;
        size_t n_names, n = 0;
        char **names;
        int r;

        r = io_list(io, dir, &names, &n_names);
        if (r < 0)
                return r;

        indices = new (uint64_t, MAX(n_names, (size_t) 1));
        for (size_t i = 0; indices && i < n_names; i++)
                n += segment_name_parse(names[i], indices + n);
        io_names_free(names, n_names);
        if (!indices)
                return -ENOMEM;

        *ret = TAKE_PTR(indices);
        *ret_n = n;
        return 0;
}

int segment_unlink(struct io *io, const char *dir, uint64_t first_index) {
        static const char *const suffixes[] = { ".idx", ".log" };

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
                _cleanup_(mem_freep) char *path = segment_path(dir, first_index, suffixes[i]);
                int r;

                if (!path)
                        return -ENOMEM;
                r = io_unlink(io, path);
                if (r < 0 && r != -ENOENT)
                        return r;
        }

        return 0;
}

uint32_t segment_new_salt(struct io *io) {
        uint32_t salt = 0;

        while (salt == 0)
                io_random(io, &salt, sizeof(salt));

        return salt;
}

int segment_new(struct io_file *file,
                const char *dir,
                const struct segment_header *header,
                struct segment **ret) {
        struct segment *s;

        assert(file);
        assert(header->first_index > 0);

        s = new0(struct segment, 1);
        if (!s)
                return -ENOMEM;

        s->path = segment_path(dir, header->first_index, ".log");
        if (!s->path) {
                mem_free(s);
                return -ENOMEM;
        }

        s->n_refs = 1;
        s->file = io_file_ref(file);
        s->header = *header;
        s->last_index = header->first_index - 1;
        s->last_term = header->previous_term;
        s->end_pos = SEGMENT_HEADER_BYTES;

        *ret = s;
        return 0;
}

struct segment *segment_ref(struct segment *s) {
        assert(s->n_refs > 0);
        s->n_refs++;
        return s;
}

struct segment *segment_unref(struct segment *s) {
        if (!s)
                return NULL;

        assert(s->n_refs > 0);
        if (--s->n_refs > 0)
                return NULL;

        io_file_unref(s->file);
        mem_free(s->path);
        return mem_free(s);
}

int segment_open(struct io *io,
                 const char *dir,
                 uint64_t shard,
                 uint64_t first_index,
                 unsigned flags,
                 struct segment **ret) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) char *path = NULL;
        _cleanup_(mem_freep) uint8_t *block = NULL;
        struct segment_header header;
        ssize_t n;
        int r;

        path = segment_path(dir, first_index, ".log");
        block = mem_alloc(SEGMENT_HEADER_BYTES);
        if (!path || !block)
                return -ENOMEM;

        r = io_open(io, path, flags, &file);
        if (r < 0)
                return r;

        n = io_pread(file, block, SEGMENT_HEADER_BYTES, 0, /* flags= */ 0);
        if (n < 0)
                return (int) n;
        if (n < (ssize_t) SEGMENT_HEADER_BYTES)
                return -EBADMSG;

        r = segment_header_decode(block, &header);
        if (r < 0)
                return r;
        if (header.shard != shard || header.first_index != first_index)
                return -EBADMSG;

        return segment_new(file, dir, &header, ret);
}

int segment_read_footer(struct segment *s) {
        uint8_t block[SEGMENT_FOOTER_BYTES];
        uint64_t size;
        ssize_t n;
        int r;

        r = io_file_size(s->file, &size);
        if (r < 0)
                return r;

        s->is_closed = true;
        s->end_pos = MAX(size - size % LOG_SECTOR_BYTES, (uint64_t) SEGMENT_HEADER_BYTES);
        if (size < SEGMENT_HEADER_BYTES + SEGMENT_FOOTER_BYTES)
                return 0;

        n = io_pread(s->file, block, sizeof(block), size - sizeof(block), /* flags= */ 0);
        if (n < 0 && n != -EIO)
                return (int) n;
        if (n != sizeof(block) || segment_footer_decode(block, s->header.salt, &s->footer) < 0)
                return 0;
        if (s->footer.pos != size - sizeof(block) ||
            s->footer.last_index < s->header.first_index - 1)
                return 0;

        s->last_index = s->footer.last_index;
        s->last_term = s->footer.last_term;
        s->last_time_ms = s->footer.last_time_ms;
        s->n_entries = s->footer.n_entries;
        s->end_pos = s->footer.pos;
        return 1;
}

int segment_zero(struct io_file *file, uint64_t from_pos, uint64_t to_pos) {
        const size_t chunk = (size_t) MIN(to_pos - from_pos, ZERO_CHUNK_BYTES);
        _cleanup_(mem_freep) uint8_t *zeroes = NULL;

        assert(from_pos <= to_pos);

        if (from_pos == to_pos)
                return 0;

        zeroes = mem_alloc0(chunk);
        if (!zeroes)
                return -ENOMEM;

        while (from_pos < to_pos) {
                size_t n = (size_t) MIN(to_pos - from_pos, (uint64_t) chunk);
                int r;

                r = io_pwrite(file, zeroes, n, from_pos);
                if (r < 0)
                        return r;
                from_pos += n;
        }

        return 0;
}

int segment_make_file(struct io *io, const char *path, uint64_t zeroed_pos, struct io_file **ret) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        int r;

        assert(zeroed_pos >= SEGMENT_HEADER_BYTES);

        r = io_unlink(io, path);
        if (r < 0 && r != -ENOENT)
                return r;

        r = io_open(io, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE, &file);
        if (r < 0)
                return r;

        r = segment_zero(file, 0, zeroed_pos);
        if (r >= 0)
                r = io_fdatasync(file);
        if (r < 0) {
                (void) io_unlink(io, path); /* the first error counts; a start removes it too */
                return r;
        }

        *ret = TAKE_PTR(file);
        return 0;
}

int segment_begin(struct io *io,
                  struct io_file *file,
                  const struct segment_header *header,
                  const char *dir,
                  const char *from,
                  const char *to) {
        _cleanup_(mem_freep) uint8_t *block = NULL;
        int r;

        block = mem_alloc(SEGMENT_HEADER_BYTES);
        if (!block)
                return -ENOMEM;

        segment_header_encode(header, block);
        r = io_pwrite(file, block, SEGMENT_HEADER_BYTES, 0);
        if (r < 0)
                return r;
        r = io_fdatasync(file);
        if (r < 0)
                return r;
        r = io_rename(io, from, to); /* I2 */
        if (r < 0)
                return r;

        return io_sync_dir(io, dir);
}

int segment_close(struct io_file *file, const struct segment_footer *footer, uint32_t salt) {
        uint8_t block[SEGMENT_FOOTER_BYTES];
        int r;

        segment_footer_encode(footer, salt, block);
        r = io_pwrite(file, block, sizeof(block), footer->pos);
        if (r < 0)
                return r;
        r = io_truncate(file, footer->pos + SEGMENT_FOOTER_BYTES); /* I3 */
        if (r < 0)
                return r;

        return io_fdatasync(file);
}

void segment_header_encode(const struct segment_header *h, uint8_t p[static SEGMENT_HEADER_BYTES]) {
        memset(p, 0, SEGMENT_HEADER_BYTES);
        le32_store(p + 4, SEGMENT_MAGIC);
        le32_store(p + 8, LOG_FORMAT_VERSION);
        le64_store(p + 16, h->shard);
        le64_store(p + 24, h->first_index);
        le64_store(p + 32, h->generation);
        le32_store(p + 40, h->salt);
        le64_store(p + 48, (uint64_t) h->created_ms);
        le64_store(p + 56, h->previous_term);
        le32_store(p, crc32c(0, p + 4, SEGMENT_HEADER_BYTES - 4));
}

int segment_header_decode(const uint8_t p[static SEGMENT_HEADER_BYTES],
                          struct segment_header *ret) {
        if (le32_load(p + 4) != SEGMENT_MAGIC ||
            crc32c(0, p + 4, SEGMENT_HEADER_BYTES - 4) != le32_load(p))
                return -EBADMSG;
        if (le32_load(p + 8) > LOG_FORMAT_VERSION)
                return -EPROTONOSUPPORT;
        if (le32_load(p + 8) == 0 || le64_load(p + 24) == 0 || le32_load(p + 40) == 0)
                return -EBADMSG;

        *ret = (struct segment_header){
                .shard = le64_load(p + 16),
                .first_index = le64_load(p + 24),
                .generation = le64_load(p + 32),
                .salt = le32_load(p + 40),
                .created_ms = (int64_t) le64_load(p + 48),
                .previous_term = le64_load(p + 56),
        };
        return 0;
}

void segment_footer_encode(const struct segment_footer *f,
                           uint32_t salt,
                           uint8_t p[static SEGMENT_FOOTER_BYTES]) {
        memset(p, 0, SEGMENT_FOOTER_BYTES);
        le32_store(p + 4, FOOTER_MAGIC);
        le64_store(p + 8, f->last_index);
        le64_store(p + 16, f->last_term);
        le64_store(p + 24, f->commit_index);
        le64_store(p + 32, f->n_entries);
        le64_store(p + 40, f->pos);
        le64_store(p + 48, (uint64_t) f->last_time_ms);
        le32_store(p, crc32c(salt, p + 4, SEGMENT_FOOTER_BYTES - 4));
}

int segment_footer_decode(const uint8_t p[static SEGMENT_FOOTER_BYTES],
                          uint32_t salt,
                          struct segment_footer *ret) {
        struct segment_footer f;

        if (le32_load(p + 4) != FOOTER_MAGIC ||
            crc32c(salt, p + 4, SEGMENT_FOOTER_BYTES - 4) != le32_load(p))
                return -EBADMSG;

        f = (struct segment_footer){
                .last_index = le64_load(p + 8),
                .last_term = le64_load(p + 16),
                .commit_index = le64_load(p + 24),
                .n_entries = le64_load(p + 32),
                .pos = le64_load(p + 40),
                .last_time_ms = (int64_t) le64_load(p + 48),
        };
        if (f.pos < SEGMENT_HEADER_BYTES || f.pos % LOG_SECTOR_BYTES != 0 ||
            f.commit_index > f.last_index)
                return -EBADMSG;

        *ret = f;
        return 0;
}

void group_header_encode(const struct group_header *g,
                         uint32_t salt,
                         uint8_t p[static GROUP_HEADER_BYTES]) {
        le32_store(p + 4, GROUP_MAGIC);
        le64_store(p + 8, g->first_index);
        le64_store(p + 16, g->last_index);
        le64_store(p + 24, g->last_term);
        le32_store(p + 32, g->length_bytes);
        le32_store(p + 36, g->n_zero_sectors | (g->is_weak ? GROUP_WEAK : 0));
        le64_store(p + 40, g->durable_index);
        le64_store(p + 48, g->commit_index);
        le64_store(p + 56, g->durable_term);
        le32_store(p, crc32c(salt, p + 4, GROUP_HEADER_BYTES - 4));
}

int group_header_decode(const uint8_t p[static GROUP_HEADER_BYTES],
                        uint32_t salt,
                        struct group_header *ret) {
        struct group_header g;

        if (le32_load(p + 4) != GROUP_MAGIC)
                return -EBADMSG;
        if (!BUG(TRUST_LENGTH) && crc32c(salt, p + 4, GROUP_HEADER_BYTES - 4) != le32_load(p))
                return -EBADMSG;

        g = (struct group_header){
                .first_index = le64_load(p + 8),
                .last_index = le64_load(p + 16),
                .last_term = le64_load(p + 24),
                .length_bytes = le32_load(p + 32),
                .n_zero_sectors = le32_load(p + 36) & ~GROUP_WEAK,
                .is_weak = le32_load(p + 36) & GROUP_WEAK,
                .durable_index = le64_load(p + 40),
                .commit_index = le64_load(p + 48),
                .durable_term = le64_load(p + 56),
        };
        if (g.first_index == 0 || g.last_index < g.first_index - 1 || g.last_index == UINT64_MAX)
                return -EBADMSG;
        if (g.length_bytes < GROUP_HEADER_BYTES || g.length_bytes > GROUP_BYTES_MAX ||
            (g.length_bytes == GROUP_HEADER_BYTES) != (g.last_index == g.first_index - 1))
                return -EBADMSG;
        if (g.n_zero_sectors >= group_padded_bytes(g.length_bytes) / LOG_SECTOR_BYTES)
                return -EBADMSG;
        if (g.durable_index >= g.first_index || g.commit_index > g.last_index)
                return -EBADMSG;

        *ret = g;
        return 0;
}

static bool sector_is_zero(const uint8_t *p) {
        for (size_t i = 0; i < LOG_SECTOR_BYTES; i += sizeof(uint64_t)) {
                uint64_t v;

                memcpy(&v, p + i, sizeof(v));
                if (v != 0)
                        return false;
        }

        return true;
}

uint32_t count_zero_sectors(const uint8_t *p, size_t n) {
        uint32_t n_zero = 0;

        assert(n % LOG_SECTOR_BYTES == 0);

        for (size_t i = 0; i < n; i += LOG_SECTOR_BYTES)
                n_zero += sector_is_zero(p + i);

        return n_zero;
}
