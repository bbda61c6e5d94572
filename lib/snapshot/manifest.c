/* SPDX-License-Identifier: Apache-2.0 */
/* The table of contents of a snapshot: text and struct. Nothing here reads or writes files. */
#include "snapshot/manifest.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/format.h"

#define INDEX_DIGITS 20u
#define LINE_MAX_BYTES 1024u

void manifest_done(struct manifest *m) {
        for (size_t i = 0; i < m->n_files; i++)
                mem_free(m->files[i].path);
        mem_free(m->files);
        mem_free(m->shards);
        *m = (struct manifest){};
}

struct manifest *manifest_free(struct manifest *m) {
        if (!m)
                return NULL;

        manifest_done(m);
        return mem_free(m);
}

static bool is_name_character(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '-';
}

bool snapshot_name_is_valid(const char *s) {
        size_t n = 0;

        for (; s[n]; n++)
                if (n >= SNAPSHOT_NAME_MAX || !is_name_character(s[n]))
                        return false;
        return n > 0 && s[0] != '.';
}

/* ---- Paths ---- */

/* Digits without a leading zero up to @end. Return: whether it is that. */
static bool take_number(const char **p, const char *end, uint64_t *ret) {
        const char *q = *p;
        uint64_t v = 0;

        while (q < end && *q >= '0' && *q <= '9') {
                if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
                    __builtin_add_overflow(v, (uint64_t) (*q - '0'), &v))
                        return false;
                q++;
        }
        if (q == *p || (**p == '0' && q > *p + 1))
                return false;

        *p = q;
        *ret = v;
        return true;
}

static bool take_text(const char **p, const char *end, const char *text) {
        size_t n = strlen(text);

        if ((size_t) (end - *p) < n || memcmp(*p, text, n) != 0)
                return false;
        *p += n;
        return true;
}

/* The twenty digits of a file's name. */
static bool take_index(const char **p, const char *end, uint64_t *ret) {
        uint64_t v = 0;

        if ((size_t) (end - *p) < INDEX_DIGITS)
                return false;
        for (size_t i = 0; i < INDEX_DIGITS; i++) {
                char c = (*p)[i];

                if (c < '0' || c > '9' || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
                    __builtin_add_overflow(v, (uint64_t) (c - '0'), &v))
                        return false;
        }
        if (v == 0)
                return false;

        *p += INDEX_DIGITS;
        *ret = v;
        return true;
}

static bool parse_path(const char *p, const char *end, struct manifest_file *ret) {
        if (!take_text(&p, end, "shard-") || !take_number(&p, end, &ret->shard) ||
            !take_text(&p, end, "/"))
                return false;

        if (take_text(&p, end, "checkpoint-")) {
                ret->kind = MANIFEST_CHECKPOINT;
                return take_index(&p, end, &ret->index) && p == end;
        }
        if (!take_index(&p, end, &ret->index))
                return false;
        if (take_text(&p, end, ".log"))
                ret->kind = MANIFEST_SEGMENT;
        else if (take_text(&p, end, ".idx"))
                ret->kind = MANIFEST_INDEX;
        else
                return false;
        return p == end;
}

/* ---- Adding ---- */

const struct manifest_shard *manifest_find_shard(const struct manifest *m, uint64_t shard) {
        for (size_t i = 0; i < m->n_shards; i++)
                if (m->shards[i].shard == shard)
                        return m->shards + i;
        return NULL;
}

int manifest_add_shard(struct manifest *m, const struct manifest_shard *s) {
        if (m->n_shards >= MANIFEST_SHARDS_MAX ||
            (m->n_shards > 0 && m->shards[m->n_shards - 1].shard >= s->shard) ||
            s->first_index == 0 || s->last_index < s->first_index ||
            s->checkpoint_index > s->last_index)
                return -EBADMSG;
        if (!grow(m->shards, m->n_shards_allocated, m->n_shards + 1))
                return -ENOMEM;

        m->shards[m->n_shards++] = *s;
        return 0;
}

static int
add_file(struct manifest *m, const char *path, size_t path_bytes, uint64_t n_bytes, uint32_t crc) {
        struct manifest_file f = { .n_bytes = n_bytes, .crc = crc };
        uint64_t sum;

        if (!parse_path(path, path + path_bytes, &f) || !manifest_find_shard(m, f.shard) ||
            n_bytes == 0 || n_bytes > INT64_MAX ||
            __builtin_add_overflow(m->n_bytes, n_bytes, &sum) || sum > INT64_MAX)
                return -EBADMSG;
        if (!grow(m->files, m->n_files_allocated, m->n_files + 1))
                return -ENOMEM;
        f.path = mem_strndup(path, path_bytes);
        if (!f.path)
                return -ENOMEM;
        if (m->n_files > 0 && strcmp(m->files[m->n_files - 1].path, f.path) >= 0) {
                mem_free(f.path);
                return -EBADMSG;
        }

        m->files[m->n_files++] = f;
        m->n_bytes = sum;
        return 0;
}

int manifest_add_file(struct manifest *m, const char *path, uint64_t n_bytes) {
        return add_file(m, path, strlen(path), n_bytes, /* crc= */ 0);
}

bool manifest_is_same(const struct manifest *a, const struct manifest *b) {
        if (!streq(a->name, b->name) || a->created_ms != b->created_ms ||
            a->node_id != b->node_id || !streq(a->node_name, b->node_name) ||
            memcmp(a->cluster_id, b->cluster_id, sizeof(a->cluster_id)) != 0 ||
            memcmp(a->incarnation, b->incarnation, sizeof(a->incarnation)) != 0 ||
            !streq(a->version, b->version) || a->token != b->token ||
            a->is_temporary != b->is_temporary || a->n_shards != b->n_shards ||
            a->n_files != b->n_files)
                return false;
        for (size_t i = 0; i < a->n_shards; i++)
                if (memcmp(a->shards + i, b->shards + i, sizeof(a->shards[i])) != 0)
                        return false;
        for (size_t i = 0; i < a->n_files; i++)
                if (a->files[i].n_bytes != b->files[i].n_bytes ||
                    !streq(a->files[i].path, b->files[i].path))
                        return false;
        return true;
}

/* ---- Text to struct ---- */

struct lines {
        const char *p;
        const char *end;
        size_t number; /* of the line at hand */
};

/* Return: whether there is one that ends. */
static bool next_line(struct lines *l, const char **ret, const char **ret_end) {
        size_t left = (size_t) (l->end - l->p);
        const char *q = memchr(l->p, '\n', MIN(left, (size_t) LINE_MAX_BYTES));

        l->number++;
        if (!q)
                return false;

        *ret = l->p;
        *ret_end = q;
        l->p = q + 1;
        return true;
}

/* The next line, behind "KEY ". */
static bool next_value(struct lines *l, const char *key, const char **ret, const char **ret_end) {
        return next_line(l, ret, ret_end) && take_text(ret, *ret_end, key) &&
               take_text(ret, *ret_end, " ");
}

static bool is_word_character(char c) {
        return c > ' ' && c < 127;
}

/* A word up to @end. */
static bool take_word(const char **p, const char *end, char *dest, size_t n_max) {
        size_t n = (size_t) (end - *p);

        if (n == 0 || n > n_max)
                return false;
        for (size_t i = 0; i < n; i++)
                if (!is_word_character((*p)[i]))
                        return false;

        memcpy(dest, *p, n);
        dest[n] = 0;
        *p = end;
        return true;
}

static int hex_value(char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -EINVAL;
}

static bool take_hex(const char **p, const char *end, uint8_t *dest, size_t n) {
        if ((size_t) (end - *p) < 2 * n)
                return false;
        for (size_t i = 0; i < n; i++) {
                int high = hex_value((*p)[2 * i]), low = hex_value((*p)[2 * i + 1]);

                if (high < 0 || low < 0)
                        return false;
                dest[i] = (uint8_t) (high << 4 | low);
        }
        *p += 2 * n;
        return true;
}

static bool parse_head(struct lines *l, struct manifest *m) {
        const char *p, *end;
        uint8_t token[8];
        uint64_t v;

        if (!next_value(l, "name", &p, &end) || !take_word(&p, end, m->name, SNAPSHOT_NAME_MAX) ||
            !snapshot_name_is_valid(m->name))
                return false;
        if (!next_value(l, "created", &p, &end) || !take_number(&p, end, &v) || p != end ||
            v > INT64_MAX)
                return false;
        m->created_ms = (int64_t) v;
        if (!next_value(l, "node", &p, &end) || !take_number(&p, end, &m->node_id) ||
            m->node_id == 0 || !take_text(&p, end, " ") ||
            !take_word(&p, end, m->node_name, MANIFEST_WORD_MAX))
                return false;
        if (!next_value(l, "cluster", &p, &end) ||
            !take_hex(&p, end, m->cluster_id, sizeof(m->cluster_id)) || p != end)
                return false;
        if (!next_value(l, "incarnation", &p, &end) ||
            !take_hex(&p, end, m->incarnation, sizeof(m->incarnation)) || p != end)
                return false;
        if (!next_value(l, "version", &p, &end) ||
            !take_word(&p, end, m->version, MANIFEST_WORD_MAX))
                return false;
        if (!next_value(l, "token", &p, &end) || !take_hex(&p, end, token, sizeof(token)) ||
            p != end)
                return false;
        m->token = be64_load(token);
        if (!next_value(l, "temporary", &p, &end))
                return false;
        m->is_temporary = take_text(&p, end, "yes");
        return (m->is_temporary || take_text(&p, end, "no")) && p == end;
}

static int parse_shard(struct manifest *m, const char *p, const char *end) {
        struct manifest_shard s;

        if (!take_number(&p, end, &s.shard) || !take_text(&p, end, " ") ||
            !take_number(&p, end, &s.first_index) || !take_text(&p, end, " ") ||
            !take_number(&p, end, &s.last_index) || !take_text(&p, end, " ") ||
            !take_number(&p, end, &s.checkpoint_index) || !take_text(&p, end, " ") ||
            !take_number(&p, end, &s.term) || p != end)
                return -EBADMSG;
        return manifest_add_shard(m, &s);
}

static int parse_file(struct manifest *m, const char *p, const char *end) {
        bool has_checksum;
        uint8_t crc[4] = {};
        uint64_t n_bytes;

        if (!take_number(&p, end, &n_bytes) || !take_text(&p, end, " "))
                return -EBADMSG;
        has_checksum = !take_text(&p, end, "-");
        if (has_checksum && !take_hex(&p, end, crc, sizeof(crc)))
                return -EBADMSG;
        if (m->n_files > 0 && has_checksum != m->has_checksums)
                return -EBADMSG;
        m->has_checksums = has_checksum;
        if (!take_text(&p, end, " "))
                return -EBADMSG;
        return add_file(m, p, (size_t) (end - p), n_bytes, be32_load(crc));
}

static int
parse_end(const struct manifest *m, const char *p, const char *end, uint32_t crc_of_lines) {
        uint64_t n_files, n_bytes;
        uint8_t crc[4];

        if (!take_number(&p, end, &n_files) || !take_text(&p, end, " ") ||
            !take_number(&p, end, &n_bytes) || !take_text(&p, end, " ") ||
            !take_hex(&p, end, crc, sizeof(crc)) || p != end || n_files != m->n_files ||
            n_bytes != m->n_bytes || be32_load(crc) != crc_of_lines)
                return -EBADMSG;
        return 0;
}

static int parse_text(struct lines *l, const char *text, struct manifest *m) {
        const char *p, *end, *line;
        uint64_t version;
        int r;

        if (!next_value(l, "drmq-snapshot", &p, &end) || !take_number(&p, end, &version) ||
            p != end || version == 0)
                return -EBADMSG;
        if (version > MANIFEST_VERSION)
                return -EPROTONOSUPPORT;
        if (!parse_head(l, m))
                return -EBADMSG;

        while (next_line(l, &line, &end)) {
                p = line;
                if (m->n_files == 0 && take_text(&p, end, "shard "))
                        r = parse_shard(m, p, end);
                else if (take_text(&p, end, "file "))
                        r = parse_file(m, p, end);
                else if (take_text(&p, end, "end "))
                        return l->p == l->end
                                       ? parse_end(
                                                 m, p, end, crc32c(0, text, (size_t) (line - text)))
                                       : -EBADMSG;
                else
                        r = -EBADMSG;
                if (r < 0)
                        return r;
        }
        return -EBADMSG;
}

int manifest_parse(const void *text, size_t n, struct manifest **ret, size_t *reterr_line) {
        _cleanup_(manifest_freep) struct manifest *m = NULL;
        struct lines l = { .p = text, .end = (const char *) text + n };
        int r;

        assert(text || n == 0);
        assert(ret);

        if (n > MANIFEST_BYTES_MAX)
                return -EFBIG;
        if (n == 0)
                return -EBADMSG;

        m = new0(struct manifest, 1);
        if (!m)
                return -ENOMEM;
        r = parse_text(&l, text, m);
        if (r < 0) {
                if (reterr_line)
                        *reterr_line = l.number;
                return r;
        }

        *ret = TAKE_PTR(m);
        return 0;
}

/* ---- Struct to text ---- */

static void put_text(struct byte_writer *w, const char *s) {
        byte_writer_bytes(w, s, strlen(s));
}

static void put_word(struct byte_writer *w, const char *s) {
        size_t n = strnlen(s, MANIFEST_WORD_MAX);

        if (n == 0)
                put_text(w, "?");
        for (size_t i = 0; i < n; i++)
                byte_writer_u8(w, (uint8_t) (is_word_character(s[i]) ? s[i] : '?'));
}

_printf_(2, 3) static void put_line(struct byte_writer *w, const char *format, ...) {
        char line[LINE_MAX_BYTES];
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        assert(n >= 0 && (size_t) n < sizeof(line)); /* all that goes in is bounded */
        byte_writer_bytes(w, line, (size_t) n);
}

int manifest_format(const struct manifest *m, struct byte_writer *w) {
        char id[FORMAT_MAX];
        size_t begin;

        assert(m);
        assert(w);

        begin = w->size;
        put_line(w, "drmq-snapshot %u\nname %s\n", MANIFEST_VERSION, m->name);
        put_line(w, "created %" PRId64 "\nnode %" PRIu64 " ", m->created_ms, m->node_id);
        put_word(w, m->node_name);
        put_line(w, "\ncluster %s\n", format_id128(id, m->cluster_id));
        put_line(w, "incarnation %s\nversion ", format_id128(id, m->incarnation));
        put_word(w, m->version);
        put_line(w, "\ntoken %016" PRIx64 "\n", m->token);
        put_line(w, "temporary %s\n", m->is_temporary ? "yes" : "no");
        for (size_t i = 0; i < m->n_shards; i++) {
                const struct manifest_shard *s = m->shards + i;

                put_line(w,
                         "shard %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                         s->shard,
                         s->first_index,
                         s->last_index,
                         s->checkpoint_index,
                         s->term);
        }
        for (size_t i = 0; i < m->n_files; i++) {
                const struct manifest_file *f = m->files + i;

                put_line(w, "file %" PRIu64 " ", f->n_bytes);
                if (m->has_checksums)
                        put_line(w, "%08" PRIx32, f->crc);
                else
                        put_text(w, "-");
                put_line(w, " %s\n", f->path);
        }
        if (byte_writer_result(w) < 0)
                return byte_writer_result(w);

        put_line(w,
                 "end %zu %" PRIu64 " %08" PRIx32 "\n",
                 m->n_files,
                 m->n_bytes,
                 crc32c(0, w->data + begin, w->size - begin));
        return byte_writer_result(w);
}
