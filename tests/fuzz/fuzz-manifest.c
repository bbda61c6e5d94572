/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever bytes stand where the table of contents of a snapshot or its archive should be: reading
 * them ends; what is taken as a manifest is the one text that stands for it, and its paths stay
 * below their folder.
 *
 * The first byte of the input: 0 a manifest; 1 the same, its checksum made right; 2 an archive, in
 * one piece and in small ones, which must give the same.
 */

#include <stdio.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "snapshot/archive.h"

#define FIX_CHECKSUM 1u
#define ARCHIVE 2u
#define END "\nend "
#define CRC_DIGITS 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The last eight digits before the last newline are the checksum of all before the last line. */
static void fix(uint8_t *p, size_t n) {
        char digits[CRC_DIGITS + 1];
        size_t at = n;

        while (at > 0 && !(n - at >= sizeof(END) - 1 && memcmp(p + at, END, sizeof(END) - 1) == 0))
                at--;
        if (n < sizeof(END) + CRC_DIGITS + 1 || n - at < sizeof(END) + CRC_DIGITS)
                return;

        (void) snprintf(digits, sizeof(digits), "%08x", crc32c(0, p, at + 1));
        memcpy(p + n - CRC_DIGITS - 1, digits, CRC_DIGITS);
}

static void try_manifest(const uint8_t *p, size_t n) {
        _cleanup_(manifest_freep) struct manifest *m = NULL;
        struct byte_writer w;
        size_t line = 0;
        int r;

        r = manifest_parse(p, n, &m, &line);
        assert(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT || r == -ENOMEM);
        assert((r == 0) == (m != NULL));
        if (r < 0)
                return;

        assert(snapshot_name_is_valid(m->name));
        for (size_t i = 0; i < m->n_files; i++) {
                const char *path = m->files[i].path;

                assert(strncmp(path, "shard-", 6) == 0);
                assert(!strstr(path, ".."));
                assert(strchr(path, '/') == strrchr(path, '/'));
                assert(strlen(path) <= TAR_NAME_MAX);
                assert(i == 0 || strcmp(m->files[i - 1].path, path) < 0);
                assert(manifest_find_shard(m, m->files[i].shard));
        }
        byte_writer_init(&w, 0);
        if (manifest_format(m, &w) >= 0) {
                assert(w.size == n);
                assert(memcmp(w.data, p, n) == 0);
        }
        byte_writer_done(&w);
}

static int count_data(void *userdata, _unused_ size_t i, _unused_ const void *p, size_t n) {
        *(uint64_t *) userdata += n;
        return 0;
}

static int read_archive(const uint8_t *p, size_t n, size_t piece, uint64_t *ret_bytes) {
        static const struct archive_events events = { .on_data = count_data };
        struct archive_reader *a;
        int r;

        *ret_bytes = 0;
        r = archive_reader_new(&events, ret_bytes, &a);
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < n; i += piece)
                r = archive_reader_feed(a, p + i, MIN(piece, n - i));
        if (r >= 0)
                r = archive_reader_end(a);
        assert(r < 0 || *ret_bytes == archive_reader_manifest(a)->n_bytes);
        archive_reader_free(a);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        _cleanup_(mem_freep) uint8_t *p = NULL;
        uint64_t n_whole, n_pieces;
        int r;

        if (n < 1)
                return 0;
        p = mem_dup(data + 1, n - 1);
        if (!p)
                return 0;
        if (data[0] == ARCHIVE) {
                r = read_archive(p, n - 1, n, &n_whole);
                assert(read_archive(p, n - 1, 7, &n_pieces) == r);
                assert(r < 0 || n_whole == n_pieces);
                return 0;
        }

        if (data[0] == FIX_CHECKSUM)
                fix(p, n - 1);
        try_manifest(p, n - 1);
        return 0;
}
