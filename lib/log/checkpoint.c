/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoint files. Not here: what a checkpoint says (drmqd/core), and when one is made.
 *
 *  I1  A file is renamed to its name only after all of it is synced; the folder is synced before
 *      success is returned.
 *  I2  Nothing of a body is handed out before its checksum is right.
 *  I3  The newest two with a good header are never removed.
 */
#include "log/checkpoint.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "log/format.h"

#define CHECKPOINT_MAGIC UINT32_C(0x50435244) /* "DRCP" */
#define CHECKPOINT_PREFIX "checkpoint-"
#define CHECKPOINT_SUFFIX_UNFINISHED ".new"
#define CHECKPOINT_DIGITS 20u
#define CHECKPOINTS_KEPT 2u

struct checkpoint_header {
        uint32_t body_crc;
        uint64_t shard;
        uint64_t index;
        uint64_t term;
        int64_t append_time_ms;
        uint64_t body_bytes;
};

static void header_encode(const struct checkpoint_header *h,
                          uint8_t p[static CHECKPOINT_HEADER_BYTES]) {
        le32_store(p + 4, CHECKPOINT_MAGIC);
        le32_store(p + 8, LOG_FORMAT_VERSION);
        le32_store(p + 12, h->body_crc);
        le64_store(p + 16, h->shard);
        le64_store(p + 24, h->index);
        le64_store(p + 32, h->term);
        le64_store(p + 40, (uint64_t) h->append_time_ms);
        le64_store(p + 48, h->body_bytes);
        le64_store(p + 56, 0);
        le32_store(p, crc32c(0, p + 4, CHECKPOINT_HEADER_BYTES - 4));
}

/* Return: 0; -EBADMSG; -EPROTONOSUPPORT. */
static int header_decode(const uint8_t p[static CHECKPOINT_HEADER_BYTES],
                         struct checkpoint_header *ret) {
        if (le32_load(p) != crc32c(0, p + 4, CHECKPOINT_HEADER_BYTES - 4) ||
            le32_load(p + 4) != CHECKPOINT_MAGIC)
                return -EBADMSG;
        if (le32_load(p + 8) > LOG_FORMAT_VERSION)
                return -EPROTONOSUPPORT;
        if (le32_load(p + 8) != LOG_FORMAT_VERSION || le64_load(p + 56) != 0)
                return -EBADMSG;

        *ret = (struct checkpoint_header){
                .body_crc = le32_load(p + 12),
                .shard = le64_load(p + 16),
                .index = le64_load(p + 24),
                .term = le64_load(p + 32),
                .append_time_ms = (int64_t) le64_load(p + 40),
                .body_bytes = le64_load(p + 48),
        };
        return 0;
}

/* Whether @name is "checkpoint-" and 20 digits that are a number; what follows them is in
 * @ret_rest. */
static bool name_parse(const char *name, uint64_t *ret_index, const char **ret_rest) {
        uint64_t index = 0;

        if (strncmp(name, CHECKPOINT_PREFIX, strlen(CHECKPOINT_PREFIX)) != 0)
                return false;

        name += strlen(CHECKPOINT_PREFIX);
        for (unsigned i = 0; i < CHECKPOINT_DIGITS; i++, name++)
                if (*name < '0' || *name > '9' || __builtin_mul_overflow(index, 10, &index) ||
                    __builtin_add_overflow(index, (uint64_t) (*name - '0'), &index))
                        return false;

        *ret_index = index;
        *ret_rest = name;
        return true;
}

bool checkpoint_name_parse(const char *name, uint64_t *ret_index) {
        const char *rest;

        return name_parse(name, ret_index, &rest) && *rest == '\0';
}

static bool name_is_unfinished(const char *name) {
        const char *rest;
        uint64_t index;

        return name_parse(name, &index, &rest) && streq(rest, CHECKPOINT_SUFFIX_UNFINISHED);
}

/**
 * Opens and checks all but the body. Return: 0; -EBADMSG; -EPROTONOSUPPORT; what the disk says.
 */
static int checkpoint_open(struct io *io,
                           const char *path,
                           uint64_t index,
                           struct io_file **ret_file,
                           struct checkpoint_header *ret) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        uint8_t p[CHECKPOINT_HEADER_BYTES];
        struct checkpoint_header h;
        uint64_t size;
        ssize_t n;
        int r;

        r = io_open(io, path, IO_OPEN_READ, &file);
        if (r < 0)
                return r;
        r = io_file_size(file, &size);
        if (r < 0)
                return r;
        n = io_pread(file, p, sizeof(p), 0, /* flags= */ 0);
        if (n < 0 && n != -EIO) /* a sector that cannot be read is as good as damaged */
                return (int) n;
        if (n != (ssize_t) sizeof(p))
                return -EBADMSG;

        r = header_decode(p, &h);
        if (r < 0)
                return r;
        if (h.index != index || h.body_bytes != size - sizeof(p))
                return -EBADMSG;

        *ret_file = TAKE_PTR(file);
        *ret = h;
        return 0;
}

int checkpoint_read(
        struct io *io, const char *path, uint64_t shard, uint64_t index, struct checkpoint *ret) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) uint8_t *body = NULL;
        struct checkpoint_header h;
        ssize_t n;
        int r;

        r = checkpoint_open(io, path, index, &file, &h);
        if (r < 0)
                return r;
        if (h.shard != shard)
                return -EBADMSG;

        /* Not larger than the file, which is there. */
        body = new (uint8_t, MAX(h.body_bytes, UINT64_C(1)));
        if (!body)
                return -ENOMEM;
        n = io_pread(file, body, h.body_bytes, CHECKPOINT_HEADER_BYTES, /* flags= */ 0);
        if (n < 0 && n != -EIO)
                return (int) n;
        if (n < 0 || (uint64_t) n != h.body_bytes ||
            crc32c(0, body, h.body_bytes) != h.body_crc) /* I2 */
                return -EBADMSG;

        *ret = (struct checkpoint){
                .index = h.index,
                .term = h.term,
                .append_time_ms = h.append_time_ms,
                .body = TAKE_PTR(body),
                .body_bytes = h.body_bytes,
        };
        return 0;
}

void checkpoint_done(struct checkpoint *c) {
        assert(c);

        c->body = mem_free(c->body);
        c->body_bytes = 0;
}

int checkpoint_write(struct io *io, const char *dir, uint64_t shard, const struct checkpoint *c) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) char *path = NULL, *unfinished = NULL;
        uint8_t p[CHECKPOINT_HEADER_BYTES];
        int r;

        assert(io);
        assert(dir);
        assert(c);
        assert(c->index > 0);
        assert(c->body || c->body_bytes == 0);

        path = mem_asprintf("%s/" CHECKPOINT_PREFIX "%020" PRIu64, dir, c->index);
        unfinished = path ? mem_asprintf("%s" CHECKPOINT_SUFFIX_UNFINISHED, path) : NULL;
        if (!unfinished)
                return -ENOMEM;

        r = io_unlink(io, unfinished);
        if (r < 0 && r != -ENOENT)
                return r;
        r = io_open(io, unfinished, IO_OPEN_WRITE | IO_OPEN_CREATE, &file);
        if (r < 0)
                return r;

        header_encode(
                &(const struct checkpoint_header){
                        .body_crc = crc32c(0, c->body, c->body_bytes),
                        .shard = shard,
                        .index = c->index,
                        .term = c->term,
                        .append_time_ms = c->append_time_ms,
                        .body_bytes = c->body_bytes,
                },
                p);
        r = io_pwrite(file, p, sizeof(p), 0);
        if (r >= 0)
                r = io_pwrite(file, c->body, c->body_bytes, sizeof(p));
        if (r >= 0)
                r = io_fdatasync(file);
        if (r >= 0)
                r = io_rename(io, unfinished, path); /* I1 */
        if (r < 0) {
                (void) io_unlink(io, unfinished); /* else the next call does */
                return r;
        }

        return io_sync_dir(io, dir); /* I1 */
}

int checkpoint_load(struct io *io,
                    const char *dir,
                    uint64_t shard,
                    struct checkpoint *ret,
                    unsigned *ret_n_bad) {
        unsigned n_bad = 0;
        size_t n_names;
        char **names;
        int r;

        assert(io);
        assert(dir);
        assert(ret);

        r = io_list(io, dir, &names, &n_names);
        if (r < 0)
                return r;

        /* Twenty digits sort as numbers do: the newest is the last. */
        r = 0;
        for (size_t i = n_names; i > 0 && r == 0; i--) {
                _cleanup_(mem_freep) char *path = NULL;
                uint64_t index;

                if (!checkpoint_name_parse(names[i - 1], &index))
                        continue;

                path = mem_asprintf("%s/%s", dir, names[i - 1]);
                r = path ? checkpoint_read(io, path, shard, index, ret) : -ENOMEM;
                if (r == -EBADMSG) {
                        n_bad++;
                        r = 0;
                } else if (r == 0)
                        r = 1;
        }

        io_names_free(names, n_names);
        if (r >= 0 && ret_n_bad)
                *ret_n_bad = n_bad;
        return r;
}

/* Whether the one of this name has a good header. Return: 1; 0; -EPROTONOSUPPORT; what the disk
 * says. */
static int header_is_good(
        struct io *io, const char *dir, const char *name, uint64_t index, uint64_t *ret_shard) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) char *path = NULL;
        struct checkpoint_header h;
        int r;

        path = mem_asprintf("%s/%s", dir, name);
        if (!path)
                return -ENOMEM;

        r = checkpoint_open(io, path, index, &file, &h);
        if (r == -EBADMSG)
                return 0;
        if (r < 0)
                return r;

        *ret_shard = h.shard;
        return 1;
}

int checkpoint_newest(struct io *io, const char *dir, uint64_t shard, uint64_t *ret_index) {
        uint64_t index = 0;
        size_t n_names;
        char **names;
        int r;

        assert(io);
        assert(dir);
        assert(ret_index);

        r = io_list(io, dir, &names, &n_names);
        if (r < 0)
                return r;

        r = 0;
        for (size_t i = n_names; i > 0 && r == 0; i--) {
                uint64_t found = 0;

                if (checkpoint_name_parse(names[i - 1], &index))
                        r = header_is_good(io, dir, names[i - 1], index, &found);
                if (r > 0 && found != shard)
                        r = 0;
        }

        io_names_free(names, n_names);
        if (r < 0)
                return r;

        *ret_index = r > 0 ? index : 0;
        return 0;
}

static int remove_in(struct io *io, const char *dir, const char *name) {
        _cleanup_(mem_freep) char *path = NULL;

        path = mem_asprintf("%s/%s", dir, name);
        return path ? io_unlink(io, path) : -ENOMEM;
}

int checkpoint_prune(struct io *io, const char *dir) {
        unsigned n_good = 0;
        size_t n_names;
        char **names;
        int r;

        assert(io);
        assert(dir);

        r = io_list(io, dir, &names, &n_names);
        if (r < 0)
                return r;

        for (size_t i = n_names; i > 0 && r >= 0; i--) {
                const char *name = names[i - 1];
                uint64_t index, shard;

                if (name_is_unfinished(name))
                        r = remove_in(io, dir, name);
                else if (!checkpoint_name_parse(name, &index))
                        continue;
                else if (n_good >= CHECKPOINTS_KEPT)
                        r = remove_in(io, dir, name); /* I3 */
                else {
                        r = header_is_good(io, dir, name, index, &shard);
                        n_good += r > 0;
                }
        }

        io_names_free(names, n_names);
        return r < 0 ? r : 0;
}
