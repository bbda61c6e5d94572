/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at archives: inspect and verify. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/format.h"
#include "base/logging.h"
#include "drmq-snapshot/archive-in.h"
#include "drmq-snapshot/segments.h"
#include "drmq-snapshot/tool.h"

static struct output *shard_table(const struct manifest *m) {
        static const struct output_column columns[] = {
                { "SHARD", "shard", OUTPUT_NUMBER },
                { "FIRST", "first_index", OUTPUT_NUMBER },
                { "LAST", "last_index", OUTPUT_NUMBER },
                { "CHECKPOINT", "checkpoint_index", OUTPUT_NUMBER },
                { "TERM", "term", OUTPUT_NUMBER },
        };
        struct output *o;

        if (output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o) < 0)
                return NULL;
        for (size_t i = 0; i < m->n_shards; i++) {
                output_number(o, m->shards[i].shard);
                output_number(o, m->shards[i].first_index);
                output_number(o, m->shards[i].last_index);
                if (m->shards[i].checkpoint_index > 0)
                        output_number(o, m->shards[i].checkpoint_index);
                else
                        output_none(o);
                output_number(o, m->shards[i].term);
        }
        return o;
}

static struct output *file_table(const struct manifest *m) {
        static const struct output_column columns[] = {
                { "FILE", "path", OUTPUT_TEXT },
                { "SIZE", "bytes", OUTPUT_BYTES },
                { "CRC32C", "crc32c", OUTPUT_TEXT },
        };
        struct output *o;

        if (output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o) < 0)
                return NULL;
        for (size_t i = 0; i < m->n_files; i++) {
                char crc[16];

                (void) snprintf(crc, sizeof(crc), "%08" PRIx32, m->files[i].crc);
                output_text(o, m->files[i].path);
                output_number(o, m->files[i].n_bytes);
                output_text(o, crc);
        }
        return o;
}

static int show_manifest(const struct manifest *m, enum output_form form) {
        static const struct output_column columns[] = {
                { "Snapshot", "name", OUTPUT_TEXT },
                { "Created", "created", OUTPUT_TIME },
                { "Node", "node", OUTPUT_NUMBER },
                { "Node name", "node_name", OUTPUT_TEXT },
                { "Cluster", "cluster_id", OUTPUT_TEXT },
                { "Incarnation", "incarnation", OUTPUT_TEXT },
                { "Version", "version", OUTPUT_TEXT },
                { "Files", "n_files", OUTPUT_NUMBER },
                { "Size", "bytes", OUTPUT_BYTES },
                { "Shards", "shards", OUTPUT_LIST },
                { "Contents", "files", OUTPUT_LIST },
        };
        _cleanup_(output_freep) struct output *o = NULL;
        char id[FORMAT_MAX];
        int r;

        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_RECORD, &o);
        if (r < 0)
                return log_error_errno(r, "Cannot show it: %m");
        output_text(o, m->name);
        output_time(o, m->created_ms);
        output_number(o, m->node_id);
        output_text(o, m->node_name);
        output_text(o, format_id128(id, m->cluster_id));
        output_text(o, format_id128(id, m->incarnation));
        output_text(o, m->version);
        output_number(o, m->n_files);
        output_number(o, m->n_bytes);
        output_list(o, shard_table(m));
        output_list(o, file_table(m));
        r = output_print(o, form, STDOUT_FILENO);
        return r < 0 ? log_error_errno(r, "Cannot write to stdout: %m") : 0;
}

int inspect_run(char **args, _unused_ size_t n_args, void *userdata) {
        static const struct archive_events nothing = {};
        _cleanup_(archive_reader_freep) struct archive_reader *reader = NULL;
        const struct tool *t = userdata;
        int r;

        r = archive_in_read(args[0], &nothing, NULL, /* progress= */ NULL, &reader);
        if (r < 0)
                return r;
        return show_manifest(archive_reader_manifest(reader), t->form);
}

static int show_verified(const char *file, const struct manifest *m, enum output_form form) {
        static const struct output_column columns[] = {
                { "Archive", "archive", OUTPUT_TEXT }, { "Whole", "is_whole", OUTPUT_YES_NO },
                { "Snapshot", "name", OUTPUT_TEXT },   { "Created", "created", OUTPUT_TIME },
                { "Files", "files", OUTPUT_NUMBER },   { "Size", "bytes", OUTPUT_BYTES },
        };
        _cleanup_(output_freep) struct output *o = NULL;
        int r;

        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_RECORD, &o);
        if (r < 0)
                return log_error_errno(r, "Cannot show it: %m");
        output_text(o, file);
        output_number(o, true);
        output_text(o, m->name);
        output_time(o, m->created_ms);
        output_number(o, m->n_files);
        output_number(o, m->n_bytes);
        r = output_print(o, form, STDOUT_FILENO);
        return r < 0 ? log_error_errno(r, "Cannot write to stdout: %m") : 0;
}

int verify_run(char **args, _unused_ size_t n_args, void *userdata) {
        _cleanup_(archive_reader_freep) struct archive_reader *reader = NULL;
        _cleanup_(segments_done) struct segments segments = {};
        const struct tool *t = userdata;
        struct progress progress;
        int r;

        progress_init(&progress, t->progress ? PROGRESS_ALWAYS : PROGRESS_NEVER, "files", 0);
        r = archive_in_read(args[0], &segments_events, &segments, &progress, &reader);
        if (r >= 0)
                r = segments_end(&segments);
        if (r < 0)
                return r;
        return show_verified(args[0], archive_reader_manifest(reader), t->form);
}
