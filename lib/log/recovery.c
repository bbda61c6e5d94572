/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a start makes of what it finds. Policy and source: log/recovery.h; truncation is truncate.c.
 *
 *  I1  Nothing is written before all is read that decides about it.
 *  I2  Zeroes are written over an unfinished group, and over what only the page cache shows behind
 *      the end.
 *  I3  A group header proves that what it names as durable was synced, wherever it stands; one that
 *      was written when the group before was synced names all before it. So only what no header
 *      names can be unfinished: the last group, or, where groups were reported before they were
 *      synced, several.
 *  I4  An unfinished group that is zeroed in part is still unfinished: a cut may be cut short and
 *      begun again. The headers that go with it name as durable nothing but good groups: else they
 *      stay (scan.bad.follows_bad, scan.proof_index).
 */
#include "log/recovery.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/bug.h"
#include "base/messages.h"
#include "log/checkpoint.h"
#include "log/entry.h"
#include "log/window.h"

/* Notes corruption that is kept. */
static void note_damage(struct recovery_report *report,
                        const struct tracer *tracer,
                        uint64_t shard,
                        uint64_t first,
                        uint64_t last,
                        const char *what) {
        report->n_damaged_regions++;
        if (report->first_damaged_index == 0 || first < report->first_damaged_index)
                report->first_damaged_index = first;

        if (last >= first)
                trace(tracer,
                      LOG_ERR,
                      DRMQ_MESSAGE_CORRUPTION_FOUND,
                      FIELDS(FIELD_SHARD(shard), FIELD_INDEX(first)),
                      "Entries %" PRIu64 " to %" PRIu64 " of shard %" PRIu64 " are damaged: %s",
                      first,
                      last,
                      shard,
                      what);
        else
                trace(tracer,
                      LOG_ERR,
                      DRMQ_MESSAGE_CORRUPTION_FOUND,
                      FIELDS(FIELD_SHARD(shard), FIELD_INDEX(first)),
                      "Shard %" PRIu64 " is damaged from entry %" PRIu64 " on: %s",
                      shard,
                      first,
                      what);
}

/* Reading the newest file from its first group to its end. */
struct scan {
        struct window window;
        struct entry_room room;
        struct recovered *out;
        struct segment *segment;
        const struct tracer *tracer;
        uint64_t durable_index;   /* D */
        uint64_t last_good_index; /* the highest whose entry was read and is good */
        bool is_named;            /* a group header has said what was durable and committed */
        bool is_weak;             /* what the last group header read says of how it was reported */
        /* The highest bad entry that only a header tells from an unfinished one; 0: none */
        uint64_t proof_index;
        /* What stands behind the first bad bytes that look unfinished. */
        struct {
                bool is_known;
                uint64_t durable_index; /* named by a header there */
                uint64_t last_index;    /* of those headers; 0: there is none */
                uint64_t nonzero_pos;   /* behind the last sector that is not zero */
        } ahead;
        bool is_cut; /* bad is unfinished, and what is good behind it may be there without it */
        /* Bad bytes with nothing good behind them so far. */
        struct {
                bool is_set;
                bool has_header;  /* group is good, entries of it are not */
                bool begins_zero; /* else: its first sector is all zero */
                bool follows_bad; /* its header is all that speaks for the bad bytes before it */
                uint64_t pos;
                uint64_t first_index;
                uint64_t nonzero_pos; /* behind its last sector that is not zero */
                struct group_header group;
                uint64_t durable_index; /* D without that header */
                uint64_t last_term;     /* what the segment said before that group */
                int64_t last_time_ms;
                uint64_t last_good_index;
        } bad;
};

static void scan_done(struct scan *s) {
        window_done(&s->window);
        entry_room_done(&s->room);
}

/* Adds the good entries of a group to the index. Return: 1 all are good; 0 not. */
static int scan_entries(struct scan *s, const struct group_header *g, uint64_t pos) {
        struct segment *segment = s->segment;
        const size_t n = g->length_bytes;
        uint64_t index = g->first_index, term = segment->last_term;
        size_t at = GROUP_HEADER_BYTES;
        bool good = true;
        const uint8_t *p;
        int r;

        r = window_get(&s->window, pos, n, &p);
        if (r < 0)
                return r;

        while (at < n && index <= g->last_index) {
                struct entry e;
                size_t n_bytes;

                r = entry_decode_into(p + at,
                                      n - at,
                                      segment->header.salt,
                                      ENTRY_VERIFY_BATCHES,
                                      &s->room,
                                      &e,
                                      &n_bytes);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        /* Its length may still be good: then the next entry's checksum says so. */
                        good = false;
                        n_bytes = n - at >= ENTRY_HEADER_BYTES
                                          ? ALIGN_TO((size_t) le32_load(p + at + 4), 8u)
                                          : 0;
                        if (n_bytes < ENTRY_HEADER_BYTES || n_bytes > n - at)
                                return 0;
                } else {
                        if (e.index != index || e.term < term || e.term > g->last_term)
                                return 0;

                        r = index_builder_add(s->out->builder, &e, pos + at);
                        if (r < 0)
                                return r;
                        term = e.term;
                        segment->last_time_ms = MAX(segment->last_time_ms, e.append_time_ms);
                        s->last_good_index = index;
                        s->out->report.n_entries_read++;
                }

                at += n_bytes;
                index++;
        }

        return good && at == n && index == g->last_index + 1 &&
               (g->last_index < g->first_index || term == g->last_term);
}

/* More sectors of the group are zero than its header counts. */
static int group_is_unfinished(struct scan *s) {
        const size_t n = (size_t) group_padded_bytes(s->bad.group.length_bytes);
        const uint8_t *p;
        int r;

        r = window_get(&s->window, s->bad.pos, n, &p);
        if (r < 0)
                return r;

        return count_zero_sectors(p, n) > s->bad.group.n_zero_sectors;
}

/* Whether the bad bytes may be what a write left that did not finish. */
static int bad_is_unfinished(struct scan *s) {
        return s->bad.has_header ? group_is_unfinished(s) : s->bad.begins_zero;
}

/* What the headers from a place on say. Once: what it finds holds for every place before. */
static int look_ahead(struct scan *s, uint64_t pos) {
        uint64_t last_index = s->segment->last_index;

        if (s->ahead.is_known)
                return 0;

        s->ahead.nonzero_pos = pos;
        while (pos + LOG_SECTOR_BYTES <= s->window.size) {
                struct segment_footer footer;
                struct group_header g;
                enum place place;
                int r;

                r = window_look_at(&s->window, pos, s->segment->header.salt, &place, &g, &footer);
                if (r < 0)
                        return r;

                if (place == PLACE_GROUP && g.first_index > last_index &&
                    group_padded_bytes(g.length_bytes) <= s->window.size - pos) {
                        s->ahead.durable_index =
                                MAX(s->ahead.durable_index,
                                    BUG(TRUST_LATER) ? g.first_index - 1 : g.durable_index);
                        s->ahead.last_index = last_index = g.last_index;
                        pos += group_padded_bytes(g.length_bytes);
                } else {
                        if (place == PLACE_FOOTER && footer.last_index >= last_index)
                                s->ahead.durable_index =
                                        MAX(s->ahead.durable_index, footer.last_index);
                        pos += LOG_SECTOR_BYTES;
                        if (place == PLACE_ZERO)
                                continue;
                }
                s->ahead.nonzero_pos = pos;
        }

        s->ahead.is_known = true;
        return 0;
}

/* Something good stands behind the bad bytes, at @pos. Return: 1 they are the beginning of what was
 * not synced: the log ends before them; 0 they were synced once, or were written whole. */
static int judge_bad(struct scan *s, uint64_t pos) {
        int r;

        if (!s->bad.is_set)
                return 0;
        r = bad_is_unfinished(s);
        if (r <= 0)
                return r;
        r = look_ahead(s, pos);
        if (r < 0)
                return r;
        if (s->bad.first_index > MAX(s->durable_index, s->ahead.durable_index))
                return 1; /* I3 */

        s->proof_index = s->bad.first_index;
        return 0;
}

/* Bad bytes that stay. */
static void settle_bad(struct scan *s, uint64_t next_index) {
        if (!s->bad.is_set)
                return;

        note_damage(&s->out->report,
                    s->tracer,
                    s->segment->header.shard,
                    s->bad.first_index,
                    next_index - 1,
                    "the bytes are bad, and what follows them is not");
        s->bad.is_set = false;
}

static void begin_bad(struct scan *s, uint64_t pos, uint64_t first_index) {
        s->bad.is_set = true;
        s->bad.has_header = false;
        s->bad.begins_zero = false;
        s->bad.follows_bad = false;
        s->bad.pos = pos;
        s->bad.first_index = first_index;
        s->bad.nonzero_pos = pos;
}

static int scan_group(struct scan *s, const struct group_header *g, uint64_t pos) {
        struct segment *segment = s->segment;
        const uint64_t end = pos + group_padded_bytes(g->length_bytes);
        const uint64_t last_term = segment->last_term;
        const int64_t last_time_ms = segment->last_time_ms;
        const uint64_t last_good_index = s->last_good_index;
        const uint64_t durable_index = s->durable_index;
        bool follows_bad;
        int r;

        r = judge_bad(s, pos);
        if (r < 0)
                return r;
        s->is_cut = r > 0;
        if (s->is_cut)
                return 0;

        if (!s->bad.is_set && g->first_index > segment->last_index + 1)
                begin_bad(s, pos, segment->last_index + 1); /* entries are missing in between */
        follows_bad = s->bad.is_set;
        settle_bad(s, g->first_index);

        s->durable_index = MAX(s->durable_index,
                               BUG(TRUST_LATER) ? g->first_index - 1 : g->durable_index); /* I3 */
        r = scan_entries(s, g, pos);
        if (r < 0)
                return r;
        if (r == 0) {
                begin_bad(s, pos, g->first_index);
                s->bad.has_header = true;
                s->bad.follows_bad = follows_bad;
                s->bad.group = *g;
                s->bad.nonzero_pos = end;
                s->bad.durable_index = durable_index;
                s->bad.last_term = last_term;
                s->bad.last_time_ms = last_time_ms;
                s->bad.last_good_index = last_good_index;
        }

        segment->last_index = g->last_index;
        segment->last_term = g->last_term;
        segment->n_entries = g->last_index - segment->header.first_index + 1;
        segment->end_pos = end;
        s->is_weak = g->is_weak;
        if (r > 0) {
                s->is_named = true;
                s->out->named_durable_index = g->durable_index;
                s->out->named_commit_index = g->commit_index;
        }
        s->out->commit_index = MAX(s->out->commit_index, g->commit_index);
        return 0;
}

/* Walks the file. Afterwards segment is what the good headers say, and bad what has nothing good
 * behind it. */
static int scan_file(struct scan *s) {
        struct segment *segment = s->segment;
        uint64_t pos = SEGMENT_HEADER_BYTES;
        int r;

        while (pos + LOG_SECTOR_BYTES <= s->window.size) {
                struct segment_footer footer;
                struct group_header g;
                enum place place;

                r = trace_progress(s->tracer,
                                   segment->header.shard,
                                   "reading the newest file",
                                   pos,
                                   s->window.size);
                if (r >= 0)
                        r = window_look_at(
                                &s->window, pos, segment->header.salt, &place, &g, &footer);
                if (r < 0)
                        return r;

                if (place == PLACE_GROUP && g.first_index > segment->last_index &&
                    group_padded_bytes(g.length_bytes) <= s->window.size - pos) {
                        r = scan_group(s, &g, pos);
                        if (r < 0 || s->is_cut)
                                return r;
                        pos += group_padded_bytes(g.length_bytes);
                        continue;
                }

                if (place == PLACE_FOOTER && footer.last_index >= segment->last_index) {
                        if (!s->bad.is_set && footer.last_index > segment->last_index)
                                begin_bad(s, pos, segment->last_index + 1);
                        settle_bad(s, footer.last_index + 1);

                        s->durable_index = MAX(s->durable_index, footer.last_index);
                        segment->is_closed = true;
                        segment->footer = footer;
                        segment->last_index = footer.last_index;
                        segment->last_term = footer.last_term;
                        segment->last_time_ms = footer.last_time_ms;
                        segment->n_entries = footer.n_entries;
                        segment->end_pos = pos;
                        s->out->commit_index = MAX(s->out->commit_index, footer.commit_index);
                        return 0;
                }

                if (!s->bad.is_set) {
                        begin_bad(s, pos, segment->last_index + 1);
                        s->bad.begins_zero = place == PLACE_ZERO;
                }
                pos += LOG_SECTOR_BYTES;
                if (place != PLACE_ZERO)
                        s->bad.nonzero_pos = pos;
        }

        return 0;
}

/* Nothing is behind the end of the log, neither on the disk nor in the page cache: what a failed
 * sync left there would come to disk with the page that the next group is written to. */
static int zero_tail(struct scan *s, uint64_t from_pos) {
        uint64_t end_pos;
        int r;

        r = window_find_cached_end(s->segment->file, from_pos, s->window.size, &end_pos);
        if (r < 0)
                return r;
        if (s->bad.is_set)
                end_pos = MAX(end_pos, s->bad.nonzero_pos);
        if (s->is_cut)
                end_pos = MAX(end_pos, s->ahead.nonzero_pos);
        if (end_pos == from_pos)
                return 0;

        return zero_behind(s->segment->file, from_pos, end_pos);
}

/* Says what is cut. */
static void trace_cut(const struct scan *s) {
        const struct segment *segment = s->segment;
        const struct recovery_report *report = &s->out->report;

        if (report->lost_index > 0)
                trace(s->tracer,
                      LOG_WARNING,
                      DRMQ_MESSAGE_RECOVERY_LOST,
                      FIELDS(FIELD_SHARD(segment->header.shard),
                             FIELD_INDEX(report->cut_index),
                             FIELD_FILE(segment->path)),
                      "Entries %" PRIu64 " to %" PRIu64 " of shard %" PRIu64
                      " were not synced yet and are lost: the log ends before them",
                      report->cut_index,
                      report->lost_index,
                      segment->header.shard);
        else if (s->is_weak)
                trace(s->tracer,
                      LOG_WARNING,
                      DRMQ_MESSAGE_RECOVERY_LOST,
                      FIELDS(FIELD_SHARD(segment->header.shard),
                             FIELD_INDEX(report->cut_index),
                             FIELD_FILE(segment->path)),
                      "Entries of shard %" PRIu64
                      " were not synced yet and are lost: the log ends before entry %" PRIu64,
                      segment->header.shard,
                      report->cut_index);
        else
                trace(s->tracer,
                      LOG_NOTICE,
                      DRMQ_MESSAGE_RECOVERY_CUT,
                      FIELDS(FIELD_SHARD(segment->header.shard),
                             FIELD_INDEX(report->cut_index),
                             FIELD_FILE(segment->path)),
                      "A write to shard %" PRIu64
                      " did not finish and was cut: the log ends before entry %" PRIu64,
                      segment->header.shard,
                      report->cut_index);
}

/* Decides about what has nothing good behind it: the end of the log, an unfinished group, or
 * corruption. */
static int scan_judge_tail(struct scan *s) {
        struct segment *segment = s->segment;
        struct recovery_report *report = &s->out->report;
        const uint64_t next_index = s->bad.is_set ? s->bad.first_index : segment->last_index + 1;
        const bool is_clean =
                !s->bad.is_set || (s->bad.begins_zero && s->bad.nonzero_pos == s->bad.pos);
        const char *what;
        int r;

        if (segment->is_closed)
                return 0; /* the footer stands behind all of it */
        if (is_clean && !s->is_cut && next_index > s->durable_index)
                return zero_tail(s, segment->end_pos);

        if (s->is_cut)
                what = NULL;
        else if (is_clean)
                what = "they are missing, and something names them as durable";
        else if (next_index <= s->durable_index)
                what = "the bytes are bad, and something names them as durable";
        else if (s->bad.follows_bad)
                what = "behind bytes that are bad, and the last to name them";
        else if (s->bad.has_header &&
                 (s->bad.nonzero_pos == segment->end_pos || s->bad.group.is_weak)) {
                r = group_is_unfinished(s);
                if (r < 0)
                        return r;
                what = r > 0 ? NULL : "the group was written whole";
        } else
                what = s->bad.begins_zero ? NULL : "the bytes are not those of an unfinished write";
        if (!what && s->proof_index > (s->bad.has_header ? s->bad.durable_index : s->durable_index))
                what = "they are the last to name bytes before them that are bad"; /* I4 */

        if (what) {
                note_damage(report,
                            s->tracer,
                            segment->header.shard,
                            next_index,
                            MAX(s->durable_index, segment->last_index),
                            what);
                report->tail_is_damaged = true;
                return 0;
        }

        /* I2: cut. What the group's good entries added to the index goes too. */
        r = zero_tail(s, s->bad.pos);
        if (r < 0)
                return r;

        report->cut_index = next_index;
        if (s->bad.has_header && s->bad.group.is_weak)
                report->lost_index = s->bad.group.last_index;
        if (s->is_cut)
                report->lost_index = s->ahead.last_index;
        trace_cut(s);
        index_builder_cut(s->out->builder, s->bad.pos);
        if (s->bad.has_header) {
                segment->last_index = next_index - 1;
                segment->last_term = s->bad.last_term;
                segment->last_time_ms = s->bad.last_time_ms;
                segment->n_entries = next_index - segment->header.first_index;
                segment->end_pos = s->bad.pos;
                s->last_good_index = s->bad.last_good_index;
        }
        return 0;
}

static int scan_newest(struct recovered *out,
                       const struct tracer *tracer,
                       uint64_t durable_index,
                       bool follows_good,
                       uint64_t checkpoint_index) {
        struct segment *segment = out->segments[out->n_segments - 1];
        _cleanup_(scan_done) struct scan s = {
                .out = out,
                .segment = segment,
                .tracer = tracer,
                .durable_index = durable_index,
                .last_good_index = MAX(follows_good ? segment->last_index : 0, checkpoint_index),
        };
        const uint64_t n_damaged_before = out->report.n_damaged_regions;
        int r;

        out->named_durable_index =
                segment->last_index; /* the file is there: what is before it was synced */
        out->named_commit_index = out->commit_index;

        r = window_open(&s.window, segment->file->io, segment->path);
        if (r < 0)
                return r;
        segment->zeroed_pos = s.window.size;
        r = window_find_synced(&s.window, segment->file, segment->header.salt);
        if (r < 0)
                return r;

        r = scan_file(&s);
        if (r < 0)
                return r;
        r = scan_judge_tail(&s);
        if (r < 0)
                return r;

        /* The walk that readers make finds good entries in damaged groups too: the index is to say
         * the same. Where it cannot be made, what was found here is enough. And after a cut the
         * index does not know what a partition's last offset is, which retention goes by. */
        if (out->report.n_damaged_regions > n_damaged_before || out->report.cut_index != 0) {
                _cleanup_(index_builder_freep) struct index_builder *whole = NULL;

                r = index_build(segment, &whole);
                if (r < 0 && r != -EIO)
                        return r;
                if (r >= 0) {
                        index_builder_free(out->builder);
                        out->builder = TAKE_PTR(whole);
                }
        }

        /* What the next offsets are, nobody knows where the last entry cannot be read. */
        if (s.last_good_index < segment->last_index)
                out->report.tail_is_damaged = true;
        out->report.named_durable_index = s.durable_index;
        out->report.n_bytes_read += s.window.n_bytes_read;
        return 0;
}

int recovery_create_segment(struct io *io,
                            const char *dir,
                            uint64_t shard,
                            uint64_t first_index,
                            uint64_t previous_term,
                            struct segment **ret) {
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) char *path = NULL;
        struct segment_header header = {
                .shard = shard,
                .first_index = first_index,
                .generation = 1,
                .previous_term = previous_term,
                .created_ms = io_wall_ms(io),
                .salt = segment_new_salt(io),
        };
        int r;

        path = mem_asprintf("%s/%s", dir, NEXT_FILE_NAME);
        if (!path)
                return -ENOMEM;

        r = segment_make_file(io, path, ZERO_STEP_BYTES_MIN, &file);
        if (r < 0)
                return r;
        r = segment_new(file, dir, &header, &s);
        if (r < 0)
                return r;
        s->zeroed_pos = ZERO_STEP_BYTES_MIN;

        r = segment_begin(io, file, &header, dir, path, s->path);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

static int unlink_in(struct io *io, const char *dir, const char *name) {
        _cleanup_(mem_freep) char *path = NULL;
        int r;

        path = mem_asprintf("%s/%s", dir, name);
        if (!path)
                return -ENOMEM;

        r = io_unlink(io, path);
        return r == -ENOENT ? 0 : r;
}

/* Opens one file; of a closed one reads the footer. Return: 1 it is there, and closed files are
 * whole; 0 it is there, its footer is bad; -EBADMSG its header is. */
static int add_segment(struct recovered *out,
                       struct io *io,
                       const char *dir,
                       uint64_t shard,
                       uint64_t first_index,
                       bool is_newest) {
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        int r;

        r = segment_open(
                io, dir, shard, first_index, IO_OPEN_READ | (is_newest ? IO_OPEN_WRITE : 0), &s);
        if (r < 0)
                return r;

        r = is_newest ? 1 : segment_read_footer(s);
        if (r < 0)
                return r;

        if (!grow(out->segments, out->n_allocated, out->n_segments + 1))
                return -ENOMEM;
        out->segments[out->n_segments++] = TAKE_PTR(s);
        return r;
}

/* Removes index files whose segment was dropped: a crash may have left them, or a reader that was at
 * it. */
static int unlink_orphans(struct io *io, const char *dir, const uint64_t *indices, size_t n) {
        char **names;
        size_t n_names, k = 0;
        int r;

        r = io_list(io, dir, &names, &n_names);
        if (r < 0)
                return r;

        /* Both ascend: names have as many digits each. */
        for (size_t i = 0; i < n_names && r >= 0; i++) {
                uint64_t index;

                if (!index_name_parse(names[i], &index))
                        continue;
                while (k < n && indices[k] < index)
                        k++;
                if (k == n || indices[k] != index)
                        r = unlink_in(io, dir, names[i]);
        }
        io_names_free(names, n_names);
        return r;
}

struct recovered *recovered_free(struct recovered *r) {
        if (!r)
                return NULL;

        for (size_t i = 0; i < r->n_segments; i++)
                segment_unref(r->segments[i]);
        mem_free(r->segments);
        index_builder_free(r->builder);
        return mem_free(r);
}

static struct segment *newest(const struct recovered *out) {
        return out->n_segments > 0 ? out->segments[out->n_segments - 1] : NULL;
}

/* The newest file was closed: ends it behind its footer and makes the one that follows. */
static int open_successor(struct recovered *out, struct io *io, const char *dir, uint64_t shard) {
        _cleanup_(segment_unrefp) struct segment *next = NULL;
        struct segment *s = newest(out);
        int r;

        r = segment_close(s->file, &s->footer, s->header.salt);
        if (r < 0)
                return r;
        if (!grow(out->segments, out->n_allocated, out->n_segments + 1))
                return -ENOMEM;
        r = recovery_create_segment(io, dir, shard, s->last_index + 1, s->last_term, &next);
        if (r < 0)
                return r;

        next->last_time_ms = s->last_time_ms;
        out->segments[out->n_segments++] = TAKE_PTR(next);
        index_builder_cut(out->builder, 0);
        out->named_durable_index = s->last_index;
        out->named_commit_index = s->footer.commit_index;
        return 0;
}

/* Opens all files. What is missing or bad is noted. Return: 1 what stands before the newest file is
 * whole; 0 it is not. */
static int open_segments(struct recovered *out,
                         struct io *io,
                         const char *dir,
                         uint64_t shard,
                         const struct tracer *tracer,
                         const uint64_t *indices,
                         size_t n) {
        struct recovery_report *report = &out->report;
        uint64_t expected = indices[0];
        bool is_whole = true;

        for (size_t i = 0; i < n; i++) {
                const bool is_newest = i == n - 1;
                const uint64_t next = is_newest ? indices[i] : indices[i + 1];
                struct segment *s;
                int r;

                r = trace_progress(tracer, shard, "opening files", i, n);
                if (r < 0)
                        return r;
                if (indices[i] != expected) {
                        note_damage(report,
                                    tracer,
                                    shard,
                                    expected,
                                    indices[i] - 1,
                                    "a file is missing");
                        is_whole = false;
                }

                r = add_segment(out, io, dir, shard, indices[i], is_newest);
                if (r == -EBADMSG || r == -EIO) {
                        note_damage(report,
                                    tracer,
                                    shard,
                                    indices[i],
                                    next - 1,
                                    "the header of the file is bad");
                        report->tail_is_damaged |= is_newest;
                        is_whole = false;
                        expected = next;
                        continue;
                }
                if (r < 0)
                        return r;

                s = newest(out);
                if (is_newest) {
                        r = io_fdatasync(s->file);
                        if (r < 0)
                                return r;
                        break;
                }
                if (r == 0) {
                        s->last_index = next - 1;
                        s->n_entries = next - indices[i];
                        note_damage(report,
                                    tracer,
                                    shard,
                                    indices[i],
                                    next - 1,
                                    "the footer of the file is bad");
                } else
                        out->commit_index = MAX(out->commit_index, s->footer.commit_index);
                is_whole = r > 0;
                expected = s->last_index + 1;
        }

        return is_whole;
}

int recovery_run(struct io *io,
                 const char *dir,
                 uint64_t shard,
                 const struct tracer *tracer,
                 struct recovered **ret) {
        _cleanup_(recovered_freep) struct recovered *out = NULL;
        _cleanup_(mem_freep) uint64_t *indices = NULL;
        uint64_t checkpoint_index;
        struct segment *s;
        size_t n;
        int r;

        assert(dir);
        assert(ret);

        out = new0(struct recovered, 1);
        if (!out)
                return -ENOMEM;
        r = index_builder_new(&out->builder);
        if (r < 0)
                return r;

        r = unlink_in(io, dir, NEXT_FILE_NAME);
        if (r >= 0)
                r = unlink_in(io, dir, TRUNCATE_FILE_NAME);
        if (r >= 0)
                r = io_sync_dir(io, dir); /* a kill may have left names that are not on disk */
        if (r >= 0)
                r = segment_list(io, dir, &indices, &n);
        if (r >= 0)
                r = unlink_orphans(io, dir, indices, n);
        if (r >= 0)
                r = checkpoint_newest(io, dir, shard, &checkpoint_index);
        if (r < 0)
                return r;
        if (n == 0)
                return -EBADMSG;

        out->first_index = indices[0];
        if (indices[0] >
            checkpoint_index + 1) /* the log begins behind what a state can be made from */
                note_damage(&out->report,
                            tracer,
                            shard,
                            checkpoint_index + 1,
                            indices[0] - 1,
                            "a file is missing");

        r = open_segments(out, io, dir, shard, tracer, indices, n);
        if (r < 0)
                return r;

        s = newest(out);
        if (s && s->header.first_index == indices[n - 1]) {
                if (out->n_segments > 1)
                        s->last_time_ms = out->segments[out->n_segments - 2]->last_time_ms;
                r = scan_newest(out,
                                tracer,
                                MAX(checkpoint_index, indices[n - 1] - 1),
                                /* follows_good= */ r > 0,
                                checkpoint_index);
                if (r < 0)
                        return r;
                if (s->is_closed && !out->report.tail_is_damaged) {
                        r = open_successor(out, io, dir, shard);
                        if (r < 0)
                                return r;
                        s = newest(out);
                }
        } else
                out->report.named_durable_index = MAX(checkpoint_index, indices[n - 1] - 1);

        out->last_index = s ? s->last_index : indices[0] - 1;
        out->last_term = s ? s->last_term : 0;
        out->last_time_ms = s ? s->last_time_ms : 0;
        out->commit_index = MIN(out->commit_index, out->last_index);
        out->report.first_index = out->first_index;
        out->report.last_index = out->last_index;

        *ret = TAKE_PTR(out);
        return 0;
}
