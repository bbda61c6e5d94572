/* SPDX-License-Identifier: Apache-2.0 */
/* Making a snapshot, and writing its archive. */
#include "drmq-snapshot/archive-out.h"

#include <unistd.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/logging.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "drmq-snapshot/holding.h"
#include "drmq-snapshot/segments.h"
#include "drmq-snapshot/source.h"

#define LEVEL_DEFAULT 1
#define READ_BYTES ((size_t) 2 << 20)

struct snapshot_source *snapshot_source_free(struct snapshot_source *s) {
        if (s)
                s->ops->free(s);
        return NULL;
}

/* The log in what is written, checked up to the first damage. */
struct check {
        struct segments segments;
        bool is_damaged;
};

/* @r: what an event of segments_events said. Return: 0; -ENOMEM. */
static int check_took(struct check *c, int r) {
        if (r == -ENOMEM)
                return r;
        c->is_damaged = c->is_damaged || r < 0;
        return 0;
}

static int write_text(struct archive_out *o, const struct manifest *m, const char *name) {
        struct byte_writer w;
        int r;

        byte_writer_init(&w, MANIFEST_BYTES_MAX);
        r = manifest_format(m, &w);
        if (r < 0)
                r = log_error_errno(r, "Cannot write the %s: %m", name);
        else
                r = archive_out_member(o, name, w.size, m->created_ms);
        if (r >= 0)
                r = archive_out_data(o, w.data, w.size);
        byte_writer_done(&w);
        return r;
}

static int write_file(struct archive_out *o,
                      struct snapshot_source *s,
                      size_t i,
                      uint8_t *buffer,
                      struct check *c,
                      struct progress *progress,
                      struct progress_state *state) {
        struct manifest_file *f = s->contents->files + i;
        uint64_t pos = 0;
        int r;

        r = archive_out_member(o, f->path, f->n_bytes, s->contents->created_ms);
        if (r < 0)
                return r;
        f->crc = 0;
        if (!c->is_damaged) {
                r = check_took(c, segments_events.on_file(&c->segments, i));
                if (r < 0)
                        return r;
        }
        while (pos < f->n_bytes) {
                size_t n = (size_t) MIN((uint64_t) READ_BYTES, f->n_bytes - pos), n_read;

                if (interrupt_count() > 0)
                        return log_error_errno(-ECANCELED, "Interrupted");
                r = s->ops->read(s, i, pos, buffer, n, &n_read);
                if (r < 0)
                        return r;
                if (n_read < n)
                        return log_error_errno(-EBADMSG, "%s is shorter than it was", f->path);
                f->crc = crc32c(f->crc, buffer, n);
                r = archive_out_data(o, buffer, n);
                if (r >= 0 && !c->is_damaged)
                        r = check_took(c, segments_events.on_data(&c->segments, i, buffer, n));
                if (r < 0)
                        return r;
                pos += n;
                state->n_bytes += n;
                state->done = state->n_bytes;
                progress_update(progress, state);
        }
        return c->is_damaged ? 0 : check_took(c, segments_events.on_file_end(&c->segments, i));
}

static int write_archive(struct archive_out *o,
                         struct snapshot_source *s,
                         struct check *c,
                         const struct tool *t) {
        _cleanup_(mem_freep) uint8_t *buffer = mem_alloc(READ_BYTES);
        struct progress_state state = {};
        struct progress progress;
        int r;

        if (!buffer)
                return log_error_errno(-ENOMEM, "Cannot read: %m");

        progress_init(&progress,
                      t->progress ? PROGRESS_ALWAYS : PROGRESS_NEVER,
                      "files",
                      s->contents->n_bytes);
        (void) segments_events.on_contents(&c->segments, s->contents);
        r = write_text(o, s->contents, MANIFEST_CONTENTS_NAME);
        for (size_t i = 0; r >= 0 && i < s->contents->n_files; i++) {
                r = write_file(o, s, i, buffer, c, &progress, &state);
                state.n++;
        }
        if (r >= 0 && !c->is_damaged)
                r = check_took(c, segments_end(&c->segments));
        s->contents->has_checksums = true;
        if (r >= 0)
                r = write_text(o, s->contents, MANIFEST_NAME);
        if (r >= 0)
                r = archive_out_end(o);
        if (r < 0)
                progress_clear(&progress);
        else
                progress_finish(&progress, &state);
        return r;
}

static int create_archive(const struct tool *t) {
        _cleanup_(archive_out_freep) struct archive_out *o = NULL;
        _cleanup_(snapshot_source_freep) struct snapshot_source *s = NULL;
        struct check c = {};
        int r;

        /* First what may be refused: nothing is made for nothing. */
        r = archive_out_new(t->to, t->level > 0 ? t->level : LEVEL_DEFAULT, &o);
        if (r < 0)
                return r;
        r = t->dir ? snapshot_source_of_directory(t, &s) : snapshot_source_of_node(t, &s);
        if (r != 0)
                return r;
        r = write_archive(o, s, &c, t);
        segments_done(&c.segments);
        if (r == -EPIPE)
                return log_error_errno(r, "Nobody reads the archive any more");
        if (r < 0)
                return r;

        if (!streq(t->to, "-")) {
                struct held_snapshot h = {
                        .name = s->contents->name,
                        .created_ms = s->contents->created_ms,
                        .n_files = s->contents->n_files,
                        .n_bytes = s->contents->n_bytes,
                        .file = t->to,
                        .n_file_bytes = archive_out_bytes(o),
                };

                r = held_print_created(&h, t->form);
        }
        if (c.is_damaged) {
                log_error(
                        "The archive is as the log was, and that was damaged: it cannot be restored");
                return r < 0 ? r : -EBADMSG;
        }
        return r;
}

int create_run(_unused_ char **args, _unused_ size_t n_args, void *userdata) {
        const struct tool *t = userdata;

        if (t->name && !snapshot_name_is_valid(t->name)) {
                log_error(
                        "\"%s\" cannot be the name of a snapshot: 1 to %u of [a-zA-Z0-9._-], no dot first",
                        t->name,
                        SNAPSHOT_NAME_MAX);
                return EXIT_USAGE;
        }
        return t->to ? create_archive(t) : held_create(t);
}
