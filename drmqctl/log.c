/* SPDX-License-Identifier: Apache-2.0 */

/* drmqctl log: what a node's directory holds, without its daemon: dump, verify, salvage,
 * accept-loss. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/format.h"
#include "base/logging.h"
#include "batch/batch.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/writer.h"
#include "drmqctl/view.h"
#include "io/io-posix.h"
#include "log/segment.h"
#include "offline/accept-loss.h"
#include "offline/offline.h"
#include "offline/salvage.h"
#include "offline/verify.h"

#define OUTPUT_BYTES ((size_t) 256 << 10)

/* "topic/3", or "partition 17" where the topic is not known. */
static char *
partition_name(char *dest, size_t n_dest, const struct offline_node *node, uint64_t id) {
        const struct state *topics = node ? offline_node_topics(node) : NULL;
        const struct topic_partition *p = topics ? state_topic_partition(topics, id) : NULL;

        if (p)
                (void) snprintf(dest, n_dest, "%s/%" PRIu32, p->topic->name, p->number);
        else
                (void) snprintf(dest, n_dest, "partition %" PRIu64, id);
        return dest;
}

/* Logs, and returns what to exit with. */
static int fail(int r, const char *what, const char *path, const char *detail) {
        if (detail)
                (void) log_error_errno(r, "%s", detail);
        else if (r == -ENOTDIR)
                (void) log_error_errno(r, "%s is not a node's directory", path);
        else if (r == -EPROTONOSUPPORT)
                (void) log_error_errno(
                        r, "%s was written by a newer version: its format is not known", path);
        else
                (void) log_error_errno(r, "Cannot %s %s: %m", what, path);
        return r == -EACCES ? EXIT_NOT_PERMITTED : exit_code_of(r);
}

static enum progress_when when(const struct view *v) {
        return v->progress ? PROGRESS_ALWAYS : PROGRESS_ON_TERMINAL;
}

/* ---- dump ---- */

struct dump {
        const struct view *view;
        const char *path;
        struct io *io;
        struct offline_node *node;
        struct writer output;
        uint64_t shard;
        uint64_t n_damaged;
};

static const char *const kind_names[_ENTRY_KIND_MAX] = {
        [ENTRY_NOOP] = "no-op",      [ENTRY_MEMBERSHIP] = "membership",
        [ENTRY_PRODUCE] = "produce", [ENTRY_GROUP] = "group",
        [ENTRY_ADMIN] = "admin",     [ENTRY_CHECKPOINT_MARK] = "mark",
};

static void put_text(struct dump *d, const char *s) {
        if (d->view->form == OUTPUT_JSON)
                writer_put_json(&d->output, s, utf8_is_valid(s, strlen(s)) ? strlen(s) : 0);
        else
                writer_put_string(&d->output, s);
}

static void put_member(struct dump *d, const char *name, uint64_t v) {
        writer_put_string(&d->output, name);
        writer_put_uint(&d->output, v);
}

static void dump_slice(struct dump *d, const struct entry_slice *slice, bool is_first) {
        const bool json = d->view->form == OUTPUT_JSON;
        char name[300];
        struct batch_view v;
        bool is_good =
                batch_view_init(slice->batch, slice->batch_bytes, &v) == 0 && batch_verify(&v) >= 0;
        const char *codec = is_good ? codec_name(batch_codec(&v)) : NULL;

        d->n_damaged += !is_good;
        (void) partition_name(name, sizeof(name), d->node, slice->partition_id);
        if (json) {
                writer_put_string(&d->output, is_first ? "{\"partition\":" : ",{\"partition\":");
                put_text(d, name);
                put_member(d, ",\"partition_id\":", slice->partition_id);
                put_member(d, ",\"first_offset\":", slice->base_offset);
                if (is_good)
                        put_member(d,
                                   ",\"last_offset\":",
                                   slice->base_offset + (uint64_t) v.last_offset_delta);
                if (is_good)
                        put_member(d, ",\"messages\":", (uint64_t) v.n_records);
                put_member(d, ",\"bytes\":", slice->batch_bytes);
                writer_put_string(&d->output, ",\"codec\":");
                put_text(d, codec ?: is_good ? "unknown" : "damaged");
                writer_put_byte(&d->output, '}');
                return;
        }

        writer_put_string(&d->output, is_first ? "" : ", ");
        writer_put_string(&d->output, name);
        if (!is_good) {
                put_member(d, " ", slice->base_offset);
                writer_put_string(&d->output, "-? DAMAGED");
                return;
        }
        put_member(d, " ", slice->base_offset);
        put_member(d, "-", slice->base_offset + (uint64_t) v.last_offset_delta);
        if (v.n_records == 0)
                writer_put_string(&d->output, " empty");
        put_member(d, " ", slice->batch_bytes);
        writer_put_string(&d->output, " bytes");
        if (batch_codec(&v) != CODEC_NONE) {
                writer_put_byte(&d->output, ' ');
                writer_put_string(&d->output, codec ?: "unknown codec");
        }
}

static void describe_admin(struct dump *d, const struct entry *e) {
        struct byte_reader b;
        char line[400], name[300];
        bool is_first = true;

        byte_reader_init(&b, e->body, e->body_bytes);
        while (byte_reader_left(&b) > 0) {
                _cleanup_(mem_freep) char *topic = NULL;
                uint8_t op = byte_reader_u8(&b);
                uint64_t x, y;

                switch (op) {
                case ADMIN_TOPIC_CREATE:
                case ADMIN_TOPIC_EXTEND:
                        topic = byte_reader_string(&b, 249);
                        x = byte_reader_uleb(&b);
                        y = byte_reader_uleb(&b);
                        (void) snprintf(line,
                                        sizeof(line),
                                        "%s %s: %" PRIu64 " partition(s), ids from %" PRIu64,
                                        op == ADMIN_TOPIC_CREATE ? "create" : "extend",
                                        topic ?: "?",
                                        x,
                                        y);
                        break;
                case ADMIN_TOPIC_DELETE:
                        topic = byte_reader_string(&b, 249);
                        (void) snprintf(line, sizeof(line), "delete %s", topic ?: "?");
                        break;
                case ADMIN_PARTITION_DROP:
                        (void) snprintf(
                                line,
                                sizeof(line),
                                "drop %s",
                                partition_name(name, sizeof(name), d->node, byte_reader_uleb(&b)));
                        break;
                case ADMIN_LOG_START:
                        x = byte_reader_uleb(&b);
                        y = byte_reader_uleb(&b);
                        (void) snprintf(line,
                                        sizeof(line),
                                        "drop entries up to %" PRIu64 ", first offsets of %" PRIu64
                                        " partition(s)",
                                        x,
                                        y);
                        for (; y > 0 && !b.failed; y--) {
                                (void) byte_reader_uleb(&b);
                                (void) byte_reader_uleb(&b);
                        }
                        break;
                case ADMIN_LOSS:
                        x = byte_reader_uleb(&b);
                        y = byte_reader_uleb(&b);
                        (void) snprintf(line,
                                        sizeof(line),
                                        "accepted loss of entries %" PRIu64 " to %" PRIu64,
                                        x,
                                        y);
                        break;
                default:
                        (void) snprintf(line, sizeof(line), "unknown operation %u", op);
                        b.failed = true;
                }
                if (d->view->form == OUTPUT_JSON && !is_first)
                        writer_put_byte(&d->output, ',');
                else if (!is_first)
                        writer_put_string(&d->output, "; ");
                put_text(d, line);
                is_first = false;
                if (b.failed)
                        return;
        }
}

static void describe_group(struct dump *d, const struct entry *e) {
        struct byte_reader b;
        bool is_first = true;

        byte_reader_init(&b, e->body, e->body_bytes);
        while (byte_reader_left(&b) > 0) {
                _cleanup_(mem_freep) char *group = byte_reader_string(&b, 249);
                uint64_t id = byte_reader_uleb(&b), offset = byte_reader_uleb(&b);
                char line[700], name[300];

                if (b.failed)
                        return;
                (void) snprintf(line,
                                sizeof(line),
                                "%s at %s %" PRIu64,
                                group,
                                partition_name(name, sizeof(name), d->node, id),
                                offset);
                if (d->view->form == OUTPUT_JSON && !is_first)
                        writer_put_byte(&d->output, ',');
                else if (!is_first)
                        writer_put_string(&d->output, "; ");
                put_text(d, line);
                is_first = false;
        }
}

static void dump_entry(struct dump *d, const struct entry *e, bool is_committed) {
        const bool json = d->view->form == OUTPUT_JSON;
        char time[FORMAT_MAX];

        (void) format_time_ms(time, e->append_time_ms);
        put_member(d, json ? "{\"shard\":" : "", d->shard);
        put_member(d, json ? ",\"index\":" : "\t", e->index);
        put_member(d, json ? ",\"term\":" : "\t", e->term);
        writer_put_string(&d->output, json ? ",\"time\":" : "\t");
        put_text(d, time);
        writer_put_string(&d->output, json ? ",\"kind\":" : "\t");
        put_text(d, kind_names[e->kind]);
        writer_put_string(&d->output, json ? ",\"committed\":" : "");
        writer_put_string(&d->output,
                          json           ? is_committed ? "true" : "false"
                          : is_committed ? ""
                                         : "?");
        if (!json)
                writer_put_byte(&d->output, '\t');
        else
                writer_put_string(&d->output,
                                  e->kind == ENTRY_PRODUCE ? ",\"slices\":[" : ",\"what\":[");

        for (unsigned i = 0; i < e->n_slices; i++)
                dump_slice(d, e->slices + i, i == 0);
        if (e->kind == ENTRY_ADMIN)
                describe_admin(d, e);
        if (e->kind == ENTRY_GROUP)
                describe_group(d, e);
        writer_put_string(&d->output, json ? "]}\n" : "\n");
}

static void dump_damage(struct dump *d, const struct offline_log *l) {
        struct offline_damage damage;

        offline_log_damage(l, &damage);
        if (damage.is_dropped) {
                log_warning("Entries %" PRIu64 " to %" PRIu64 " of shard %" PRIu64
                            " were dropped before they were read",
                            damage.first_index,
                            damage.last_index,
                            d->shard);
                return;
        }
        d->n_damaged++;
        (void) writer_flush(&d->output); /* in its place */
        log_error("%s, position %" PRIu64 ": entries %" PRIu64 " to %" PRIu64 " of shard %" PRIu64
                  " are damaged or missing",
                  damage.path ?: "No file",
                  damage.pos,
                  damage.first_index,
                  damage.last_index,
                  d->shard);
}

static int dump_entries(struct dump *d) {
        struct offline_log *l;
        struct entry e;
        int r;

        r = offline_node_open_log(d->node, d->shard, &l);
        if (r < 0)
                return r;

        offline_log_seek(l, MAX(offline_log_first_index(l), d->view->from_index));
        while (interrupt_count() == 0 && d->output.error == 0 &&
               (r = offline_log_next(l, offline_log_last_index(l), &e)) != 0) {
                if (r == -EBADMSG) {
                        dump_damage(d, l);
                        continue;
                }
                if (r < 0)
                        break;
                dump_entry(d, &e, e.index <= offline_log_commit_index(l));
        }
        offline_log_free(l);
        return r < 0 && r != -EBADMSG ? r : 0;
}

/* The frame that entries stand in: headers, group writes, footers. */
static int dump_file(struct dump *d, const char *dir, uint64_t first_index) {
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        uint64_t pos = SEGMENT_HEADER_BYTES, size = 0;
        char line[400];
        int r;

        r = segment_open(d->io, dir, d->shard, first_index, IO_OPEN_READ, &s);
        if (r >= 0)
                r = io_file_size(s->file, &size);
        if (r < 0) {
                d->n_damaged += r == -EBADMSG;
                log_error_errno(r,
                                "%s/%020" PRIu64 ".log: its header cannot be read: %m",
                                dir,
                                first_index);
                return r == -EBADMSG || r == -ENOENT ? 0 : r;
        }

        (void) snprintf(line,
                        sizeof(line),
                        "%" PRIu64 "\tsegment\t%s\tgeneration %" PRIu64 " salt %08" PRIx32
                        " previous term %" PRIu64 "\n",
                        d->shard,
                        s->path,
                        s->header.generation,
                        s->header.salt,
                        s->header.previous_term);
        writer_put_string(&d->output, line);
        while (size - pos >= LOG_SECTOR_BYTES && interrupt_count() == 0) {
                uint8_t p[LOG_SECTOR_BYTES];
                struct segment_footer f;
                struct group_header g;

                if (io_pread(s->file, p, sizeof(p), pos, /* flags= */ 0) != (ssize_t) sizeof(p))
                        break;
                if (group_header_decode(p, s->header.salt, &g) >= 0) {
                        (void) snprintf(line,
                                        sizeof(line),
                                        "%" PRIu64 "\tgroup\t%" PRIu64 "\tentries %" PRIu64
                                        "-%" PRIu64 " term %" PRIu64 " %" PRIu32
                                        " bytes durable %" PRIu64 " commit %" PRIu64 "\n",
                                        d->shard,
                                        pos,
                                        g.first_index,
                                        g.last_index,
                                        g.last_term,
                                        g.length_bytes,
                                        g.durable_index,
                                        g.commit_index);
                        writer_put_string(&d->output, line);
                        pos += group_padded_bytes(g.length_bytes);
                        continue;
                }
                if (segment_footer_decode(p, s->header.salt, &f) >= 0) {
                        (void) snprintf(line,
                                        sizeof(line),
                                        "%" PRIu64 "\tfooter\t%" PRIu64 "\tlast %" PRIu64
                                        " term %" PRIu64 " commit %" PRIu64 " entries %" PRIu64
                                        "\n",
                                        d->shard,
                                        pos,
                                        f.last_index,
                                        f.last_term,
                                        f.commit_index,
                                        f.n_entries);
                        writer_put_string(&d->output, line);
                        return 0;
                }
                if (count_zero_sectors(p, sizeof(p)) == 0) {
                        (void) snprintf(line,
                                        sizeof(line),
                                        "%" PRIu64 "\tdamage\t%" PRIu64 "\tno group write\n",
                                        d->shard,
                                        pos);
                        writer_put_string(&d->output, line);
                        d->n_damaged++;
                }
                pos += LOG_SECTOR_BYTES;
        }
        return 0;
}

static int dump_groups(struct dump *d) {
        _cleanup_(mem_freep) char *dir = datadir_path_of_shard(d->path, d->shard);
        _cleanup_(mem_freep) uint64_t *indices = NULL;
        size_t n;
        int r;

        if (!dir)
                return -ENOMEM;
        r = segment_list(d->io, dir, &indices, &n);
        for (size_t i = 0; i < n && r >= 0; i++)
                if (i + 1 == n || indices[i + 1] > d->view->from_index)
                        r = dump_file(d, dir, indices[i]);
        return r;
}

static int dump_shards(struct dump *d) {
        const struct datadir_info *info = offline_node_info(d->node);
        bool is_there = !d->view->has_shard;
        int r = 0;

        for (size_t i = 0; i < info->n_shards && r >= 0; i++) {
                if (d->view->has_shard && info->shards[i] != d->view->shard)
                        continue;
                is_there = true;
                d->shard = info->shards[i];
                r = d->view->groups ? dump_groups(d) : dump_entries(d);
        }
        if (!is_there) {
                log_error("%s has no shard %" PRIu64, d->path, d->view->shard);
                return EXIT_FAILED;
        }
        return r;
}

int log_dump(char **args, size_t n_args, void *userdata) {
        struct dump d = { .view = userdata, .path = args[0] };
        _cleanup_(mem_freep) char *what = NULL;
        int r, k;

        (void) n_args;

        if (d.view->groups && d.view->form == OUTPUT_JSON) {
                log_error("--groups has no JSON form; see drmqctl --help");
                return EXIT_USAGE;
        }
        if (writer_init(&d.output, STDOUT_FILENO, OUTPUT_BYTES) < 0)
                return log_oom();
        r = io_posix_new(NULL, &d.io);
        if (r >= 0)
                r = offline_node_open(d.io, d.path, &d.node, &what);
        if (r >= 0)
                r = dump_shards(&d);
        k = writer_flush(&d.output);
        if (r < 0)
                r = fail(r, "read", d.path, what);
        else if (k < 0 && k != -EPIPE)
                r = log_error_errno(k, "Cannot write to stdout: %m");
        else if (r == 0 && d.n_damaged > 0) {
                log_error("%" PRIu64 " damaged place(s)", d.n_damaged);
                r = EXIT_FAILED;
        }

        offline_node_free(d.node);
        io_posix_free(d.io);
        writer_done(&d.output);
        return r;
}

/* ---- verify ---- */

struct verify_view {
        const struct view *view;
        struct offline_node *node; /* for names; NULL */
        struct writer output;
        struct progress progress;
        uint64_t n_bytes;
};

static void on_finding(void *userdata, const struct verify_finding *f) {
        struct verify_view *v = userdata;
        struct writer *w = &v->output;
        char name[300], text[64];

        progress_clear(&v->progress);
        if (f->partition_id > 0)
                (void) partition_name(name, sizeof(name), v->node, f->partition_id);
        if (v->view->form == OUTPUT_JSON) {
                writer_put_string(w, "{\"damage\":");
                writer_put_string(w, f->is_damage ? "true" : "false");
                writer_put_string(w, ",\"file\":");
                writer_put_json(
                        w, f->path, utf8_is_valid(f->path, strlen(f->path)) ? strlen(f->path) : 0);
                writer_put_string(w, ",\"position\":");
                writer_put_uint(w, f->pos);
                if (f->first_index > 0) {
                        writer_put_string(w, ",\"shard\":");
                        writer_put_uint(w, f->shard);
                        writer_put_string(w, ",\"first_index\":");
                        writer_put_uint(w, f->first_index);
                }
                if (f->last_index > 0) {
                        writer_put_string(w, ",\"last_index\":");
                        writer_put_uint(w, f->last_index);
                }
                if (f->partition_id > 0) {
                        writer_put_string(w, ",\"partition\":");
                        writer_put_json(w, name, strlen(name));
                        writer_put_string(w, ",\"first_offset\":");
                        writer_put_uint(w, f->first_offset);
                        if (f->last_offset != UINT64_MAX) {
                                writer_put_string(w, ",\"last_offset\":");
                                writer_put_uint(w, f->last_offset);
                        }
                }
                writer_put_string(w, ",\"what\":");
                writer_put_json(w, f->what, strlen(f->what));
                writer_put_string(w, "}\n");
                return;
        }

        writer_put_string(w, f->is_damage ? "damage\t" : "note\t");
        writer_put_string(w, f->path);
        writer_put_byte(w, '\t');
        writer_put_uint(w, f->pos);
        writer_put_byte(w, '\t');
        if (f->first_index > 0) {
                if (f->last_index > 0)
                        (void) snprintf(text,
                                        sizeof(text),
                                        "entries %" PRIu64 " to %" PRIu64 ": ",
                                        f->first_index,
                                        f->last_index);
                else
                        (void) snprintf(text,
                                        sizeof(text),
                                        "entries from %" PRIu64 " on: ",
                                        f->first_index);
                writer_put_string(w, text);
        }
        if (f->partition_id > 0) {
                writer_put_string(w, name);
                if (f->last_offset != UINT64_MAX)
                        (void) snprintf(text,
                                        sizeof(text),
                                        " offsets %" PRIu64 " to %" PRIu64 ": ",
                                        f->first_offset,
                                        f->last_offset);
                else
                        (void) snprintf(
                                text, sizeof(text), " offset %" PRIu64 " on: ", f->first_offset);
                writer_put_string(w, text);
        }
        writer_put_string(w, f->what);
        writer_put_byte(w, '\n');
}

static bool on_verify_progress(void *userdata, uint64_t n_bytes) {
        struct verify_view *v = userdata;

        v->n_bytes = n_bytes;
        progress_update(&v->progress,
                        &(struct progress_state){
                                .n = n_bytes >> 20, .n_bytes = n_bytes, .done = n_bytes });
        return interrupt_count() == 0;
}

int log_verify(char **args, size_t n_args, void *userdata) {
        static const struct verify_events events = {
                .on_finding = on_finding,
                .on_progress = on_verify_progress,
        };
        struct verify_view v = { .view = userdata };
        struct verify_sums sums = {};
        struct io *io = NULL;
        uint64_t n_bytes = 0;
        int r, k;

        (void) n_args;

        if (writer_init(&v.output, STDOUT_FILENO, OUTPUT_BYTES) < 0)
                return log_oom();
        r = io_posix_new(NULL, &io);
        if (r >= 0)
                r = verify_measure(io, args[0], &n_bytes);
        if (r >= 0 && offline_node_open(io, args[0], &v.node, NULL) < 0)
                v.node = NULL; /* then partitions have numbers */
        progress_init(&v.progress, when(v.view), "MiB", n_bytes);
        if (r >= 0)
                r = verify_directory(io, args[0], &events, &v, &sums);
        progress_finish(&v.progress,
                        &(struct progress_state){
                                .n = v.n_bytes >> 20, .n_bytes = v.n_bytes, .done = v.n_bytes });
        k = writer_flush(&v.output);

        if (r == -ECANCELED)
                r = log_error_errno(r, "Interrupted");
        else if (r < 0)
                r = fail(r, "verify", args[0], NULL);
        else if (k < 0 && k != -EPIPE)
                r = log_error_errno(k, "Cannot write to stdout: %m");
        else {
                char bytes[FORMAT_MAX];

                log_info("%" PRIu64 " files, %s, %" PRIu64 " entries, %" PRIu64
                         " messages: %" PRIu64 " damaged, %" PRIu64 " note(s)",
                         sums.n_files,
                         format_bytes(bytes, sums.n_bytes),
                         sums.n_entries,
                         sums.n_messages,
                         sums.n_damaged,
                         sums.n_notes);
                r = sums.n_damaged > 0 ? EXIT_FAILED : EXIT_DONE;
        }

        offline_node_free(v.node);
        io_posix_free(io);
        writer_done(&v.output);
        return r;
}

/* ---- salvage ---- */

struct salvage_view {
        struct offline_node *node;
        struct progress progress;
        uint64_t n_bytes;
};

static bool on_salvage_progress(void *userdata, uint64_t n_bytes) {
        struct salvage_view *v = userdata;

        v->n_bytes = n_bytes;
        progress_update(&v->progress,
                        &(struct progress_state){
                                .n = n_bytes >> 20, .n_bytes = n_bytes, .done = n_bytes });
        return interrupt_count() == 0;
}

static void on_lost(void *userdata, uint64_t partition_id, uint64_t first, uint64_t last) {
        struct salvage_view *v = userdata;
        char name[300];

        progress_clear(&v->progress);
        log_error("%s: offsets %" PRIu64 " to %" PRIu64 " are lost",
                  partition_name(name, sizeof(name), v->node, partition_id),
                  first,
                  last);
}

int log_salvage(char **args, size_t n_args, void *userdata) {
        static const struct salvage_events events = {
                .on_progress = on_salvage_progress,
                .on_lost = on_lost,
        };
        const struct view *view = userdata;
        struct salvage_view v = {};
        struct salvage_sums sums = {};
        struct io *io = NULL;
        uint64_t n_bytes = 0;
        int r;

        (void) n_args;

        if (!view->to) {
                log_error("log salvage needs --to; see drmqctl --help");
                return EXIT_USAGE;
        }
        r = io_posix_new(NULL, &io);
        if (r >= 0)
                r = verify_measure(io, args[0], &n_bytes);
        if (r >= 0 && offline_node_open(io, args[0], &v.node, NULL) < 0)
                v.node = NULL;
        progress_init(&v.progress, when(view), "MiB", n_bytes);
        if (r >= 0)
                r = salvage_run(io, args[0], view->to, &events, &v, &sums);
        progress_finish(&v.progress,
                        &(struct progress_state){
                                .n = v.n_bytes >> 20, .n_bytes = v.n_bytes, .done = v.n_bytes });

        if (r == -ECANCELED)
                r = log_error_errno(r, "Interrupted; nothing was made");
        else if (r == -EEXIST)
                r = log_error_errno(
                        r,
                        "%s (or %s.part, an attempt that was cut short) is there already",
                        view->to,
                        view->to);
        else if (r < 0)
                r = fail(r, "salvage", args[0], NULL);
        else {
                log_info("%" PRIu64 " topics, %" PRIu64 " messages in %" PRIu64
                         " batches are in %s",
                         sums.n_topics,
                         sums.n_messages,
                         sums.n_batches,
                         view->to);
                if (sums.n_lost_places > 0) {
                        log_error("%" PRIu64 " damaged place(s): %" PRIu64 " entries and %" PRIu64
                                  " batches could not be read, %" PRIu64
                                  " offsets are lost, %" PRIu64
                                  " partition(s) without a name are topics lost.ID",
                                  sums.n_lost_places,
                                  sums.n_lost_entries,
                                  sums.n_lost_batches,
                                  sums.n_lost_offsets,
                                  sums.n_nameless);
                        r = EXIT_PARTLY;
                }
        }

        offline_node_free(v.node);
        io_posix_free(io);
        return r;
}

/* ---- accept-loss ---- */

static void tell_loss(const struct accept_shard *s, const struct offline_node *node) {
        char name[300];

        (void) printf("Shard %" PRIu64 ": entries %" PRIu64 " to %" PRIu64 " at most; %" PRIu64
                      " bytes that cannot be read\n",
                      s->number,
                      s->first_lost_index,
                      s->last_lost_index,
                      s->n_bad_bytes);
        for (size_t i = 0; i < s->n_partitions; i++)
                (void) printf("%s: what followed offset %" PRIu64
                              ", if anything did; the next message gets %" PRIu64 "\n",
                              partition_name(name, sizeof(name), node, s->partitions[i].id),
                              s->partitions[i].first_lost_offset,
                              s->partitions[i].next_offset);
        if (s->forgets_producers)
                (void) printf("Shard %" PRIu64
                              ": producers are forgotten; a batch that is sent again now may be"
                              " there twice\n",
                              s->number);
}

static bool is_agreed(const char *path) {
        char answer[16];

        (void) fflush(stdout);
        (void) fprintf(stderr, "Accept that this is lost from %s? [y/N] ", path);
        return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int log_accept_loss(char **args, size_t n_args, void *userdata) {
        const struct view *view = userdata;
        _cleanup_(mem_freep) char *what = NULL;
        const struct accept_shard *shards;
        struct offline_node *node = NULL;
        struct accept_loss *a = NULL;
        struct io *io = NULL;
        bool is_needed = false;
        size_t n = 0;
        int r;

        (void) n_args;

        r = io_posix_new(NULL, &io);
        if (r >= 0)
                r = accept_loss_new(io, args[0], &a, &what);
        if (r == -EBUSY) {
                log_error("%s is in use: stop its daemon first", args[0]);
                r = EXIT_FAILED;
                goto finish;
        }
        if (r < 0) {
                r = fail(r, "read", args[0], what);
                goto finish;
        }

        if (offline_node_open(io, args[0], &node, NULL) < 0)
                node = NULL;
        shards = accept_loss_shards(a, &n);
        for (size_t i = 0; i < n; i++)
                if (shards[i].is_needed) {
                        is_needed = true;
                        tell_loss(&shards[i], node);
                }
        if (!is_needed) {
                log_info("Nothing of %s is lost that keeps it from taking messages", args[0]);
                r = EXIT_DONE;
                goto finish;
        }

        if (!view->yes && !isatty(STDIN_FILENO)) {
                log_error(
                        "Accepting a loss needs --yes, where nobody can be asked; nothing was changed");
                r = EXIT_USAGE;
                goto finish;
        }
        if (!view->yes && !is_agreed(args[0])) {
                log_error("%s is left as it is", args[0]);
                r = EXIT_FAILED;
                goto finish;
        }

        r = accept_loss_run(a);
        if (r < 0)
                r = log_error_errno(r, "Cannot write to %s: %m; it may be tried again", args[0]);
        else {
                log_notice("The loss is accepted; %s takes messages again", args[0]);
                r = EXIT_DONE;
        }

finish:
        offline_node_free(node);
        accept_loss_free(a);
        io_posix_free(io);
        return r;
}
