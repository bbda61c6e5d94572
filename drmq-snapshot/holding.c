/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots that a running node holds: made, listed, deleted, and read for an archive.
 *
 *  I1  What was made for an archive alone is temporary, and deleted when the archive is written or
 *      given up; where we are killed the node deletes it itself after a while.
 */
#include "drmq-snapshot/holding.h"

#include <unistd.h>

#include "base/alloc.h"
#include "base/logging.h"
#include "base/parse.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"
#include "drmq-snapshot/source.h"

/* What a signal interrupts; it is only read there. */
static drmq_client *interruptible;

void create_interrupt(void) {
        if (interruptible)
                drmq_client_interrupt(interruptible);
}

static int connect_node(const struct tool *t, drmq_client **ret) {
        int r;

        r = connect_new(t->brokers, t->timeout_usec, ret);
        return r == -EINVAL ? EXIT_USAGE : r;
}

static int show(const struct output *o, enum output_form form) {
        int r;

        r = output_print(o, form, STDOUT_FILENO);
        return r < 0 ? log_error_errno(r, "Cannot write to stdout: %m") : 0;
}

int held_print_created(const struct held_snapshot *h, enum output_form form) {
        static const struct output_column columns[] = {
                { "Snapshot", "name", OUTPUT_TEXT },
                { "Created", "created", OUTPUT_TIME },
                { "Files", "files", OUTPUT_NUMBER },
                { "Size", "bytes", OUTPUT_BYTES },
                { "Archive", "archive", OUTPUT_TEXT },
                { "Compressed", "archive_bytes", OUTPUT_BYTES },
        };
        _cleanup_(output_freep) struct output *o = NULL;
        int r;

        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_RECORD, &o);
        if (r < 0)
                return log_error_errno(r, "Cannot show it: %m");
        output_text(o, h->name);
        output_time(o, h->created_ms);
        output_number(o, h->n_files);
        output_number(o, h->n_bytes);
        output_text(o, h->file);
        if (h->file)
                output_number(o, h->n_file_bytes);
        else
                output_none(o);
        return show(o, form);
}

int held_create(const struct tool *t) {
        _cleanup_(drmq_client_freep) drmq_client *c = NULL;
        const struct drmq_snapshot_info *info;
        int r;

        r = connect_node(t, &c);
        if (r != 0)
                return r;
        r = drmq_snapshot_create(c, t->name, /* is_temporary= */ false, &info);
        if (r < 0)
                return connect_error(c, r, "Cannot make a snapshot");

        return held_print_created(
                &(struct held_snapshot){
                        .name = info->name,
                        .created_ms = info->created_ms,
                        .n_files = info->n_files,
                        .n_bytes = info->n_bytes,
                },
                t->form);
}

int list_run(_unused_ char **args, _unused_ size_t n_args, void *userdata) {
        static const struct output_column columns[] = {
                { "NAME", "name", OUTPUT_TEXT },
                { "CREATED", "created", OUTPUT_TIME },
                { "FILES", "files", OUTPUT_NUMBER },
                { "SIZE", "bytes", OUTPUT_BYTES },
                { "HELD FOR IT ALONE", "pinned_bytes", OUTPUT_BYTES },
                { "TEMPORARY", "is_temporary", OUTPUT_YES_NO },
                { "DAMAGED", "is_damaged", OUTPUT_YES_NO },
        };
        const struct tool *t = userdata;
        _cleanup_(output_freep) struct output *o = NULL;
        _cleanup_(drmq_client_freep) drmq_client *c = NULL;
        const struct drmq_snapshot_info *infos;
        size_t n;
        int r;

        r = connect_node(t, &c);
        if (r != 0)
                return r;
        r = drmq_snapshot_list(c, &infos, &n);
        if (r < 0)
                return connect_error(c, r, "Cannot list the snapshots");

        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o);
        if (r < 0)
                return log_error_errno(r, "Cannot show them: %m");
        for (size_t i = 0; i < n; i++) {
                output_text(o, infos[i].name);
                output_time(o, infos[i].created_ms);
                output_number(o, infos[i].n_files);
                output_number(o, infos[i].n_bytes);
                output_number(o, infos[i].pinned_bytes);
                output_number(o, infos[i].is_temporary);
                output_number(o, infos[i].is_damaged);
        }
        return show(o, t->form);
}

int delete_run(char **args, size_t n_args, void *userdata) {
        const struct tool *t = userdata;
        _cleanup_(drmq_client_freep) drmq_client *c = NULL;
        size_t n_deleted = 0;
        int r, first = 0;

        r = connect_node(t, &c);
        if (r != 0)
                return r;
        for (size_t i = 0; i < n_args; i++) {
                r = drmq_snapshot_delete(c, args[i]);
                if (r < 0)
                        connect_error(c, r, "Cannot delete %s", args[i]);
                else
                        n_deleted++;
                if (first == 0)
                        first = r;
                if (r < 0 && r != -ENOENT && r != -EINVAL)
                        break; /* the next one would fare no better */
        }
        return first < 0 && n_deleted > 0 ? EXIT_PARTLY : first;
}

/* ---- As a source ---- */

struct node_source {
        struct snapshot_source source;
        drmq_client *client;
        char *name;
};

static void node_source_free(struct snapshot_source *s) {
        struct node_source *n = CONTAINER_OF(s, struct node_source, source);

        interruptible = NULL;
        if (n->name) { /* I1 */
                int r;

                drmq_client_resume(n->client);
                r = drmq_snapshot_delete(n->client, n->name);
                if (r < 0 && r != -ENOENT)
                        connect_error(
                                n->client, r, "The node goes on holding snapshot %s", n->name);
        }
        drmq_client_free(n->client);
        manifest_free(s->contents);
        mem_free(n->name);
        mem_free(n);
}

static int node_source_read(
        struct snapshot_source *s, size_t i, uint64_t pos, void *p, size_t n_max, size_t *ret_n) {
        struct node_source *n = CONTAINER_OF(s, struct node_source, source);
        int r;

        /* File 0 is the table of contents. */
        r = drmq_snapshot_read(n->client, n->name, (uint32_t) i + 1, pos, p, n_max, ret_n);
        if (r == -ECANCELED)
                return log_error_errno(r, "Interrupted");
        if (r < 0)
                return connect_error(n->client, r, "Cannot read %s", s->contents->files[i].path);
        return 0;
}

static const struct snapshot_source_ops node_source_ops = {
        .read = node_source_read,
        .free = node_source_free,
};

static int read_contents(struct node_source *n) {
        _cleanup_(mem_freep) uint8_t *text = NULL;
        size_t n_text = 0, n_allocated = 0, n_read;
        const size_t n_step = (size_t) 2 << 20;
        int r;

        do {
                if (n_text > MANIFEST_BYTES_MAX || !grow(text, n_allocated, n_text + n_step))
                        return log_error_errno(-ENOMEM, "Cannot read the table of contents: %m");
                r = drmq_snapshot_read(
                        n->client, n->name, /* file= */ 0, n_text, text + n_text, n_step, &n_read);
                if (r < 0)
                        return connect_error(n->client, r, "Cannot read the table of contents");
                n_text += n_read;
        } while (n_read == n_step);

        r = manifest_parse(text, n_text, &n->source.contents, /* reterr_line= */ NULL);
        if (r < 0)
                return log_error_errno(r, "The node's table of contents makes no sense: %m");
        return 0;
}

int snapshot_source_of_node(const struct tool *t, struct snapshot_source **ret) {
        _cleanup_(snapshot_source_freep) struct snapshot_source *s = NULL;
        const struct drmq_snapshot_info *info;
        struct node_source *n;
        int r;

        n = new0(struct node_source, 1);
        if (!n)
                return log_error_errno(-ENOMEM, "Cannot make a snapshot: %m");
        n->source.ops = &node_source_ops;
        s = &n->source;

        r = connect_node(t, &n->client);
        if (r != 0)
                return r;
        interruptible = n->client;
        if (interrupt_count() > 0) /* it came before there was anything to interrupt */
                return log_error_errno(-ECANCELED, "Interrupted");

        r = drmq_snapshot_create(n->client, t->name, /* is_temporary= */ true, &info);
        if (r == -ECANCELED)
                return log_error_errno(
                        r, "Interrupted; if a snapshot was made, the node deletes it by itself");
        if (r < 0)
                return connect_error(n->client, r, "Cannot make a snapshot");
        n->name = mem_strdup(info->name);
        if (!n->name)
                return log_error_errno(-ENOMEM, "Cannot read the snapshot: %m");
        r = read_contents(n);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}
