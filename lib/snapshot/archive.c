/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an archive, member by member. Not here: compression, files.
 *
 *  I1  contents is set once the first member has been parsed; the manifest only once it agrees with
 *      contents and with all that was read.
 *  I2  n_done files have been read whole, as many bytes as contents says.
 */
#include "snapshot/archive.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/crc32c.h"

enum archive_stage {
        ARCHIVE_HEADER,
        ARCHIVE_TEXT, /* contents or manifest */
        ARCHIVE_FILE,
        ARCHIVE_PADDING,
        ARCHIVE_ZEROES, /* behind the manifest */
};

struct archive_reader {
        const struct archive_events *events;
        void *userdata;
        enum archive_stage stage;
        uint8_t block[TAR_BLOCK_BYTES]; /* a header that arrives in pieces */
        size_t n_block;
        struct byte_writer text;
        uint64_t left_bytes;    /* of the member */
        uint64_t padding_bytes; /* behind it */
        struct manifest *contents;
        struct manifest *manifest;
        uint32_t *crcs; /* of contents->files */
        size_t n_done;
        uint64_t n_zeroes;
        char error[ARCHIVE_TEXT_MAX];
};

_printf_(3, 4) static int refuse(struct archive_reader *a, int error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(a->error, sizeof(a->error), format, ap);
        va_end(ap);
        return error;
}

int archive_reader_new(const struct archive_events *events,
                       void *userdata,
                       struct archive_reader **ret) {
        struct archive_reader *a;

        assert(events);
        assert(ret);

        a = new0(struct archive_reader, 1);
        if (!a)
                return -ENOMEM;
        a->events = events;
        a->userdata = userdata;
        byte_writer_init(&a->text, /* limit= */ 0);

        *ret = a;
        return 0;
}

struct archive_reader *archive_reader_free(struct archive_reader *a) {
        if (!a)
                return NULL;

        byte_writer_done(&a->text);
        manifest_free(a->contents);
        manifest_free(a->manifest);
        mem_free(a->crcs);
        return mem_free(a);
}

/* The name that the next member must have. */
static const char *expected_name(const struct archive_reader *a) {
        if (!a->contents)
                return MANIFEST_CONTENTS_NAME;
        return a->n_done < a->contents->n_files ? a->contents->files[a->n_done].path
                                                : MANIFEST_NAME;
}

static int begin_member(struct archive_reader *a) {
        const char *name = expected_name(a);
        struct tar_member m;
        int r;

        r = tar_header_decode(a->block, &m);
        if (r < 0)
                return refuse(
                        a,
                        r,
                        a->contents
                                ? "where \"%s\" should begin there is no header of a file"
                                : "this is not an archive of drmq-snapshot: where \"%s\" should begin there is something else",
                        name);
        if (r == 0)
                return refuse(a, -EBADMSG, "the archive ends before \"%s\"", name);
        if (!streq(m.name, name))
                return refuse(a, -EBADMSG, "where \"%s\" should be there is \"%s\"", name, m.name);

        a->left_bytes = m.n_bytes;
        a->padding_bytes = tar_padded_bytes(m.n_bytes) - m.n_bytes;
        if (!a->contents || a->n_done == a->contents->n_files) {
                if (m.n_bytes == 0 || m.n_bytes > MANIFEST_BYTES_MAX)
                        return refuse(a, -EBADMSG, "\"%s\" is too long or empty", name);
                a->stage = ARCHIVE_TEXT;
                return 0;
        }

        if (m.n_bytes != a->contents->files[a->n_done].n_bytes)
                return refuse(a,
                              -EBADMSG,
                              "\"%s\" has %" PRIu64 " bytes, and should have %" PRIu64,
                              name,
                              m.n_bytes,
                              a->contents->files[a->n_done].n_bytes);
        a->stage = ARCHIVE_FILE;
        return a->events->on_file ? a->events->on_file(a->userdata, a->n_done) : 0;
}

/* The first member is there whole. */
static int take_contents(struct archive_reader *a) {
        size_t line = 0;
        int r;

        r = manifest_parse(a->text.data, a->text.size, &a->contents, &line);
        if (r == -EPROTONOSUPPORT)
                return refuse(a, r, "it was made by a newer version of DRMQ");
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse(
                        a, -EBADMSG, "line %zu of \"" MANIFEST_CONTENTS_NAME "\" is bad", line);
        if (a->contents->n_files == 0 || a->contents->has_checksums)
                return refuse(a, -EBADMSG, "\"" MANIFEST_CONTENTS_NAME "\" names no files");

        a->crcs = new0(uint32_t, a->contents->n_files);
        if (!a->crcs)
                return -ENOMEM;
        return a->events->on_contents ? a->events->on_contents(a->userdata, a->contents) : 0;
}

/* And the last one (I1). */
static int take_manifest(struct archive_reader *a) {
        _cleanup_(manifest_freep) struct manifest *m = NULL;
        size_t line = 0;
        int r;

        r = manifest_parse(a->text.data, a->text.size, &m, &line);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse(a, -EBADMSG, "line %zu of \"" MANIFEST_NAME "\" is bad", line);
        if (!m->has_checksums || !manifest_is_same(a->contents, m))
                return refuse(a,
                              -EBADMSG,
                              "\"" MANIFEST_NAME "\" does not belong to \"" MANIFEST_CONTENTS_NAME
                              "\"");
        for (size_t i = 0; i < m->n_files; i++)
                if (m->files[i].crc != a->crcs[i])
                        return refuse(a,
                                      -EBADMSG,
                                      "\"%s\" is damaged: its checksum is %08" PRIx32
                                      ", and should be %08" PRIx32,
                                      m->files[i].path,
                                      a->crcs[i],
                                      m->files[i].crc);

        a->manifest = TAKE_PTR(m);
        return 0;
}

static int end_member(struct archive_reader *a) {
        int r;

        if (a->stage == ARCHIVE_FILE) {
                size_t i = a->n_done++; /* I2 */

                r = a->events->on_file_end ? a->events->on_file_end(a->userdata, i) : 0;
        } else {
                r = a->contents ? take_manifest(a) : take_contents(a);
                byte_writer_done(&a->text);
        }
        a->stage = ARCHIVE_PADDING;
        return r;
}

/* Takes some of @n bytes. Return: how many. */
static ssize_t take_some(struct archive_reader *a, const uint8_t *p, size_t n) {
        size_t n_taken;
        int r = 0;

        switch (a->stage) {
        case ARCHIVE_HEADER:
                n_taken = MIN(n, sizeof(a->block) - a->n_block);
                memcpy(a->block + a->n_block, p, n_taken);
                a->n_block += n_taken;
                if (a->n_block == sizeof(a->block)) {
                        a->n_block = 0;
                        r = begin_member(a);
                }
                break;
        case ARCHIVE_TEXT:
                n_taken = (size_t) MIN((uint64_t) n, a->left_bytes);
                byte_writer_bytes(&a->text, p, n_taken);
                r = byte_writer_result(&a->text);
                a->left_bytes -= n_taken;
                if (r >= 0 && a->left_bytes == 0)
                        r = end_member(a);
                break;
        case ARCHIVE_FILE:
                n_taken = (size_t) MIN((uint64_t) n, a->left_bytes);
                a->crcs[a->n_done] = crc32c(a->crcs[a->n_done], p, n_taken);
                if (a->events->on_data)
                        r = a->events->on_data(a->userdata, a->n_done, p, n_taken);
                a->left_bytes -= n_taken;
                if (r >= 0 && a->left_bytes == 0)
                        r = end_member(a);
                break;
        case ARCHIVE_PADDING:
        case ARCHIVE_ZEROES:
                n_taken = a->stage == ARCHIVE_ZEROES ? n
                                                     : (size_t) MIN((uint64_t) n, a->padding_bytes);
                for (size_t i = 0; i < n_taken; i++)
                        if (p[i] != 0)
                                return refuse(a,
                                              -EBADMSG,
                                              a->manifest ? "something follows \"%s\""
                                                          : "something stands before \"%s\"",
                                              a->manifest ? MANIFEST_NAME : expected_name(a));
                if (a->stage == ARCHIVE_ZEROES)
                        a->n_zeroes += n_taken;
                else
                        a->padding_bytes -= n_taken;
                break;
        default:
                assert(false);
                return -EINVAL;
        }

        if (a->stage == ARCHIVE_PADDING && a->padding_bytes == 0)
                a->stage = a->manifest ? ARCHIVE_ZEROES : ARCHIVE_HEADER;
        return r < 0 ? r : (ssize_t) n_taken;
}

int archive_reader_feed(struct archive_reader *a, const void *p, size_t n) {
        const uint8_t *q = p;

        assert(a);
        assert(p || n == 0);

        while (n > 0) {
                ssize_t k = take_some(a, q, n);

                if (k < 0)
                        return (int) k;
                q += k;
                n -= (size_t) k;
        }
        return 0;
}

int archive_reader_end(struct archive_reader *a) {
        assert(a);

        if (a->stage != ARCHIVE_ZEROES)
                return refuse(a,
                              -EBADMSG,
                              "the archive is not whole: it ends %s \"%s\"",
                              a->stage == ARCHIVE_HEADER || a->stage == ARCHIVE_PADDING ? "before"
                                                                                        : "within",
                              a->stage == ARCHIVE_PADDING && a->manifest ? "its end"
                                                                         : expected_name(a));
        if (a->n_zeroes < (uint64_t) 2 * TAR_BLOCK_BYTES)
                return refuse(a, -EBADMSG, "the archive is not whole: its end is missing");
        return 0;
}

const char *archive_reader_error(const struct archive_reader *a) {
        return a->error;
}

size_t archive_reader_n_files(const struct archive_reader *a) {
        return a->n_done;
}

const struct manifest *archive_reader_manifest(const struct archive_reader *a) {
        return a->stage == ARCHIVE_ZEROES ? a->manifest : NULL;
}
