/* SPDX-License-Identifier: Apache-2.0 */
/* The log in an archive, checked while it comes by. Index files are not: they are rebuilt from the
 * segments where they are bad. */
#include "drmq-snapshot/segments.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/logging.h"

#define FOOTER_MAGIC "DRSF"
#define CHECKPOINT_MAGIC "DRCP"

static const struct manifest_file *file_of(const struct segments *s) {
        return s->contents->files + s->file_i;
}

static int damaged(const struct segments *s, const char *what) {
        return log_error_errno(
                -EBADMSG, "%s is damaged at byte %" PRIu64 ": %s", file_of(s)->path, s->pos, what);
}

static int on_contents(void *userdata, const struct manifest *m) {
        struct segments *s = userdata;

        s->contents = m;
        return 0;
}

/* A shard ends where the table of contents says. */
static int end_shard(const struct segments *s) {
        const struct manifest_shard *shard;

        if (s->shard_last_index == 0)
                return 0;
        shard = manifest_find_shard(s->contents, s->shard);
        if (s->shard_last_index != shard->last_index)
                return log_error_errno(-EBADMSG,
                                       "Shard %" PRIu64 " ends with entry %" PRIu64
                                       ", and should end with %" PRIu64,
                                       s->shard,
                                       s->shard_last_index,
                                       shard->last_index);
        return 0;
}

static int on_file(void *userdata, size_t i) {
        struct segments *s = userdata;
        const struct manifest_file *f = s->contents->files + i;
        const struct manifest_shard *shard = manifest_find_shard(s->contents, f->shard);
        uint64_t expected;
        int r;

        s->file_i = i;
        s->pos = 0;
        s->n_data = 0;
        s->has_header = s->has_footer = false;
        s->body_crc = 0;
        if (f->kind != MANIFEST_SEGMENT)
                return 0;

        if (s->shard_last_index == 0 || s->shard != f->shard) {
                r = end_shard(s);
                if (r < 0)
                        return r;
                s->shard_last_index = 0;
                s->shard = f->shard;
        }
        expected = s->shard_last_index == 0 ? shard->first_index : s->shard_last_index + 1;
        if (f->index != expected)
                return log_error_errno(-EBADMSG,
                                       "Entries %" PRIu64 " to %" PRIu64 " of shard %" PRIu64
                                       " are missing",
                                       expected,
                                       f->index - 1,
                                       f->shard);
        s->last_index = f->index - 1;
        s->last_term = 0;
        s->n_entries = 0;
        return 0;
}

/* ---- Segments ---- */

static int take_header(struct segments *s, const uint8_t *p) {
        const struct manifest_file *f = file_of(s);
        int r;

        r = segment_header_decode(p, &s->header);
        if (r == -EPROTONOSUPPORT)
                return log_error_errno(r, "%s was written by a newer version", f->path);
        if (r < 0)
                return damaged(s, "its header is bad");
        if (s->header.shard != f->shard || s->header.first_index != f->index)
                return damaged(s, "it is not the file that its name says");

        s->has_header = true;
        s->last_term = s->header.previous_term;
        return 0;
}

static int take_footer(struct segments *s, const uint8_t *p) {
        const struct manifest_shard *shard = manifest_find_shard(s->contents, s->shard);
        struct segment_footer footer;

        if (segment_footer_decode(p, s->header.salt, &footer) < 0)
                return damaged(s, "its footer is bad");
        if (footer.pos != s->pos || footer.last_index != s->last_index ||
            footer.n_entries != s->n_entries || footer.last_term != s->last_term ||
            footer.last_term > shard->term)
                return damaged(s, "its footer does not fit what is before it");

        s->has_footer = true;
        return 0;
}

static int take_entries(struct segments *s, const struct group_header *g, const uint8_t *p) {
        const size_t n = g->length_bytes;
        size_t at = GROUP_HEADER_BYTES;
        int r;

        if (g->first_index != s->last_index + 1)
                return damaged(s, "entries are missing before it");
        while (at < n) {
                struct entry e;
                size_t n_bytes;

                r = entry_decode_into(p + at,
                                      n - at,
                                      s->header.salt,
                                      ENTRY_VERIFY_BATCHES,
                                      &s->room,
                                      &e,
                                      &n_bytes);
                if (r == -ENOMEM)
                        return log_error_errno(r, "Cannot check %s: %m", file_of(s)->path);
                if (r < 0 || e.index != s->last_index + 1 || e.term < s->last_term)
                        return log_error_errno(-EBADMSG,
                                               "%s is damaged at byte %" PRIu64 ": entry %" PRIu64
                                               " is bad",
                                               file_of(s)->path,
                                               s->pos + at,
                                               s->last_index + 1);
                s->last_index = e.index;
                s->last_term = e.term;
                s->n_entries++;
                at += n_bytes;
        }
        if (s->last_index != g->last_index)
                return damaged(s, "a group ends too early");
        for (size_t i = n; i < group_padded_bytes(n); i++)
                if (p[i] != 0)
                        return damaged(s, "something stands behind a group's entries");
        return 0;
}

/* Takes what is whole at the front of the @n bytes at @p. Return: how much; 0 more is needed. */
static ssize_t take_part(struct segments *s, const uint8_t *p, size_t n) {
        struct group_header g;
        uint64_t padded;
        int r;

        if (s->has_footer)
                return damaged(s, "something stands behind its footer");
        if (!s->has_header) {
                if (n < SEGMENT_HEADER_BYTES)
                        return 0;
                r = take_header(s, p);
                return r < 0 ? r : (ssize_t) SEGMENT_HEADER_BYTES;
        }
        if (n < LOG_SECTOR_BYTES)
                return 0;
        if (memcmp(p + 4, FOOTER_MAGIC, 4) == 0) {
                r = take_footer(s, p);
                return r < 0 ? r : (ssize_t) SEGMENT_FOOTER_BYTES;
        }

        if (group_header_decode(p, s->header.salt, &g) < 0)
                return damaged(s, "neither a group nor a footer stands there");
        padded = group_padded_bytes(g.length_bytes);
        if (padded > file_of(s)->n_bytes - s->pos)
                return damaged(s, "a group is longer than the file");
        if (n < padded)
                return 0;
        r = take_entries(s, &g, p);
        return r < 0 ? r : (ssize_t) padded;
}

/* Takes all that is whole. Return: what is left, negative errno. */
static ssize_t take_parts(struct segments *s, const uint8_t *p, size_t n) {
        size_t at = 0;

        while (at < n) {
                ssize_t k = take_part(s, p + at, n - at);

                if (k < 0)
                        return k;
                if (k == 0)
                        break;
                at += (size_t) k;
                s->pos += (uint64_t) k;
        }
        return (ssize_t) (n - at);
}

static int take_segment(struct segments *s, const uint8_t *p, size_t n) {
        ssize_t left;

        if (s->n_data == 0) { /* nothing waits: most is taken where it is */
                left = take_parts(s, p, n);
                if (left < 0)
                        return (int) left;
                p += n - (size_t) left;
                n = (size_t) left;
        }
        if (n == 0)
                return 0;
        if (!grow(s->data, s->n_allocated, s->n_data + n))
                return log_error_errno(-ENOMEM, "Cannot check %s: %m", file_of(s)->path);
        memcpy(s->data + s->n_data, p, n);
        s->n_data += n;

        left = take_parts(s, s->data, s->n_data);
        if (left < 0)
                return (int) left;
        memmove(s->data, s->data + s->n_data - (size_t) left, (size_t) left);
        s->n_data = (size_t) left;
        return 0;
}

/* ---- Checkpoints ---- */

static int take_checkpoint(struct segments *s, const uint8_t *p, size_t n) {
        uint8_t header[CHECKPOINT_HEADER_BYTES];
        size_t n_header;

        if (!s->has_header) {
                if (!grow(s->data, s->n_allocated, sizeof(header)))
                        return log_error_errno(-ENOMEM, "Cannot check %s: %m", file_of(s)->path);
                n_header = MIN(n, sizeof(header) - s->n_data);
                memcpy(s->data + s->n_data, p, n_header);
                s->n_data += n_header;
                s->has_header = s->n_data == sizeof(header);
                p += n_header;
                n -= n_header;
        }
        s->body_crc = crc32c(s->body_crc, p, n);
        return 0;
}

static int end_checkpoint(const struct segments *s) {
        const struct manifest_file *f = file_of(s);
        const uint8_t *p = s->data;

        if (!s->has_header || memcmp(p + 4, CHECKPOINT_MAGIC, 4) != 0 ||
            crc32c(0, p + 4, CHECKPOINT_HEADER_BYTES - 4) != le32_load(p))
                return damaged(s, "its header is bad");
        if (le64_load(p + 16) != f->shard || le64_load(p + 24) != f->index)
                return damaged(s, "it is not the file that its name says");
        if (le64_load(p + 48) != f->n_bytes - CHECKPOINT_HEADER_BYTES ||
            le32_load(p + 12) != s->body_crc)
                return damaged(s, "its checksum is wrong");
        return 0;
}

static int on_data(void *userdata, _unused_ size_t i, const void *p, size_t n) {
        struct segments *s = userdata;

        switch (file_of(s)->kind) {
        case MANIFEST_SEGMENT:
                return take_segment(s, p, n);
        case MANIFEST_CHECKPOINT:
                return take_checkpoint(s, p, n);
        case MANIFEST_INDEX:
                return 0;
        default:
                assert(false);
                return -EINVAL;
        }
}

static int on_file_end(void *userdata, _unused_ size_t i) {
        struct segments *s = userdata;

        if (file_of(s)->kind == MANIFEST_CHECKPOINT)
                return end_checkpoint(s);
        if (file_of(s)->kind != MANIFEST_SEGMENT)
                return 0;

        if (!s->has_footer || s->n_data > 0)
                return damaged(s, "its footer is missing");
        s->shard_last_index = s->last_index;
        return 0;
}

const struct archive_events segments_events = {
        .on_contents = on_contents,
        .on_file = on_file,
        .on_data = on_data,
        .on_file_end = on_file_end,
};

int segments_end(struct segments *s) {
        return end_shard(s);
}

void segments_done(struct segments *s) {
        entry_room_done(&s->room);
        mem_free(s->data);
        *s = (struct segments){};
}
