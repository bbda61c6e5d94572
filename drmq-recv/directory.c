/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads the logs of a directory from a first entry on and prints what is of the partitions that
 * were asked for.
 *
 * I1: nothing is waited for while output is held back.
 * I2: what is damaged is named once: the entries by file and position, and of each partition that
 *     lost something the offsets, as soon as what follows them tells which they are.
 */

#include "drmq-recv/directory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/logging.h"
#include "base/map.h"
#include "batch/batch.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"
#include "io/io-posix.h"
#include "offline/offline.h"

#define OUTPUT_BYTES ((size_t) 256 << 10)
/* What a batch may take up when decompressed; a message has 8 MiB at most. */
#define RECORDS_BYTES_MAX ((size_t) 256 << 20)
/* Where the kernel does not tell of changes (another machine's, say), it is looked this often. */
#define LOOK_USEC (1 * USEC_PER_SEC)
#define UNKNOWN UINT64_MAX

/* A partition that is read. */
struct source {
        struct map_node by_id;
        uint64_t id;
        const char *topic; /* of the config */
        uint32_t number;
        uint64_t from_offset; /* what is before is not wanted */
        bool from_time;       /* nor is what was appended before config.from_value */
        uint64_t next_offset; /* what must come next; UNKNOWN */
        char *bad_path;       /* damage since the last good batch; NULL: none */
        uint64_t bad_pos;
};

/* A shard that is read. */
struct log {
        uint64_t number;
        struct offline_log *log;
        uint64_t limit_index; /* with exit_at_end: where it ends */
};

struct directory {
        const struct directory_config *config;
        struct io *io;
        struct offline_node *node;
        struct map sources;
        struct log *logs;
        size_t n_logs;
        bool *is_known; /* of the topics */
        int inotify_fd;

        struct writer output;
        struct progress progress;
        struct codec_context *codecs;
        struct shown_header *headers;
        size_t n_headers_allocated;
        bool wants_headers;
        uint64_t n, n_bytes;
        uint64_t n_damaged;
        usec_t last_usec;
};

static int source_compare(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key, CONTAINER_OF(n, struct source, by_id)->id);
}

/* ---- Damage ---- */

/* Remembers where it began, until what follows tells whether it was this partition's. */
static void source_note_bad(struct source *s, const char *path, uint64_t pos) {
        if (s->bad_path)
                return;
        s->bad_path = mem_strdup(path ?: "a file that is missing");
        s->bad_pos = pos;
}

/* Offsets next_offset..@next - 1 are not there. */
static void source_tell_lost(struct directory *d, struct source *s, uint64_t next) {
        progress_clear(&d->progress);
        d->n_damaged++;
        if (next == UNKNOWN)
                log_error("%s/%" PRIu32 ": offset %" PRIu64
                          " is damaged, and what may follow it: %s, position %" PRIu64,
                          s->topic,
                          s->number,
                          s->next_offset,
                          s->bad_path ?: "?",
                          s->bad_pos);
        else
                log_error("%s/%" PRIu32 ": offsets %" PRIu64 " to %" PRIu64
                          " are damaged or missing: %s, position %" PRIu64,
                          s->topic,
                          s->number,
                          s->next_offset,
                          next - 1,
                          s->bad_path ?: "not in any file",
                          s->bad_pos);
}

static void on_damage(struct directory *d, const struct log *l) {
        struct offline_damage damage;

        offline_log_damage(l->log, &damage);
        progress_clear(&d->progress);
        if (damage.is_dropped) {
                log_warning("Entries %" PRIu64 " to %" PRIu64 " of shard %" PRIu64
                            " were dropped before they were read",
                            damage.first_index,
                            damage.last_index,
                            l->number);
                MAP_FOREACH(&d->sources, n)
                        CONTAINER_OF(n, struct source, by_id)->next_offset = UNKNOWN;
                return;
        }

        d->n_damaged++;
        if (damage.path)
                log_error("%s, position %" PRIu64 ": entries %" PRIu64 " to %" PRIu64
                          " of shard %" PRIu64 " are damaged",
                          damage.path,
                          damage.pos,
                          damage.first_index,
                          damage.last_index,
                          l->number);
        else
                log_error("Entries %" PRIu64 " to %" PRIu64 " of shard %" PRIu64 " are missing",
                          damage.first_index,
                          damage.last_index,
                          l->number);
        MAP_FOREACH(&d->sources, n)
                source_note_bad(CONTAINER_OF(n, struct source, by_id), damage.path, damage.pos);
}

/* ---- Printing ---- */

static int collect_headers(struct directory *d, const struct record *record) {
        struct header_iterator it;
        struct record_header h;
        size_t n = 0;

        if (!grow(d->headers, d->n_headers_allocated, (size_t) record->n_headers))
                return log_oom();

        header_iterator_init(&it, record);
        while (header_iterator_next(&it, &h))
                d->headers[n++] = (struct shown_header){
                        .name = (const char *) h.key,
                        .n_name = h.key_size,
                        .value = h.value,
                        .n_value = h.value_size,
                };
        return 0;
}

static int print_record(struct directory *d,
                        const struct source *s,
                        const struct record *record,
                        bool is_uncommitted) {
        struct shown shown = {
                .topic = s->topic,
                .partition = s->number,
                .offset = (uint64_t) record->offset,
                .timestamp_ms = record->timestamp_ms,
                .key = record->key,
                .n_key = record->key_size,
                .value = record->value,
                .n_value = record->value_size,
                .is_uncommitted = is_uncommitted,
        };
        int r;

        if (d->wants_headers) {
                r = collect_headers(d, record);
                if (r < 0)
                        return r;
                shown.headers = d->headers;
                shown.n_headers = record->n_headers;
        }
        format_print(d->config->output->format, &d->output, &shown);
        d->n++;
        d->n_bytes += record->value_size;
        return 0;
}

/* Return: 1 go on; 0 enough were printed; negative errno, logged. */
static int print_batch(struct directory *d,
                       struct source *s,
                       const struct batch_view *v,
                       bool is_uncommitted) {
        struct batch_iterator it;
        struct record record;
        int r;

        r = batch_iterator_init(&it, v, d->codecs, RECORDS_BYTES_MAX);
        if (r == -ENOMEM)
                return log_oom();
        if (r >= 0) {
                while ((r = batch_iterator_next(&it, &record)) > 0) {
                        if ((uint64_t) record.offset < s->from_offset)
                                continue;
                        if (d->n == d->config->output->n_max)
                                break;
                        r = print_record(d, s, &record, is_uncommitted);
                        if (r < 0)
                                break;
                }
                batch_iterator_done(&it);
                if (r == -ENOMEM)
                        return r;
        }
        if (r < 0) { /* its checksum is right: it was made like that */
                d->n_damaged++;
                progress_clear(&d->progress);
                log_error("%s/%" PRIu32 ": the batch at offset %" PRIu64 " cannot be read: %s",
                          s->topic,
                          s->number,
                          (uint64_t) v->base_offset,
                          strerrordesc_np(-r));
        }
        return d->n < d->config->output->n_max;
}

/* As print_batch(). */
static int take_slice(struct directory *d,
                      struct log *l,
                      const struct entry *e,
                      const struct entry_slice *slice) {
        struct map_node *n = map_find(&d->sources, &slice->partition_id);
        struct source *s = n ? CONTAINER_OF(n, struct source, by_id) : NULL;
        struct batch_view v;

        if (!s || slice->base_offset + 1 == 0)
                return 1;
        if (s->next_offset != UNKNOWN && slice->base_offset > s->next_offset)
                source_tell_lost(d, s, slice->base_offset);

        if (batch_view_init(slice->batch, slice->batch_bytes, &v) != 0 || batch_verify(&v) < 0) {
                s->bad_path = mem_free(s->bad_path);
                s->next_offset = slice->base_offset;
                source_note_bad(s, offline_log_path(l->log), offline_log_pos(l->log));
                return 1; /* how many they were, what follows tells */
        }

        s->bad_path = mem_free(s->bad_path);
        s->next_offset = (uint64_t) batch_next_offset(&v);
        if (s->next_offset <= s->from_offset || v.n_records == 0 || batch_is_control(&v))
                return 1;
        if (s->from_time && e->append_time_ms < d->config->from_value)
                return 1;
        if (slice->expires_at_ms > 0 && io_wall_ms(d->io) >= slice->expires_at_ms)
                return 1;
        return print_batch(d, s, &v, e->index > offline_log_commit_index(l->log));
}

/* Return: 1 all there is was read; 0 enough were printed, or a signal came; negative errno,
 * logged. */
static int drain(struct directory *d, struct log *l) {
        struct entry e;
        int r;

        for (;;) {
                uint64_t limit = d->config->exit_at_end   ? l->limit_index
                                 : d->config->uncommitted ? offline_log_last_index(l->log)
                                                          : offline_log_commit_index(l->log);

                if (interrupt_count() > 0 || d->n == d->config->output->n_max)
                        return 0;
                r = offline_log_next(l->log, limit, &e);
                if (r == 0)
                        return 1;
                if (r == -EBADMSG) {
                        on_damage(d, l);
                        continue;
                }
                if (r < 0)
                        return log_error_errno(r, "Cannot read shard %" PRIu64 ": %m", l->number);

                for (unsigned i = 0; i < e.n_slices; i++) {
                        r = take_slice(d, l, &e, e.slices + i);
                        if (r <= 0)
                                return r;
                }
                if (d->output.error < 0)
                        return d->output.error == -EPIPE
                                       ? -EPIPE
                                       : log_error_errno(d->output.error,
                                                         "Cannot write to stdout: %m");
                if (d->progress.is_on)
                        progress_update(&d->progress,
                                        &(struct progress_state){
                                                .n = d->n, .n_bytes = d->n_bytes, .done = d->n });
        }
}

/* ---- Topics ---- */

static bool wants_partition(const struct directory *d, uint32_t number) {
        for (size_t i = 0; i < d->config->n_partitions; i++)
                if (d->config->partitions[i] == number)
                        return true;
        return d->config->n_partitions == 0;
}

static int add_source(struct directory *d, const char *topic, const struct topic_partition *p) {
        struct source *s;

        if (map_find(&d->sources, &p->id))
                return 0;
        s = new0(struct source, 1);
        if (!s)
                return log_oom();

        s->id = p->id;
        s->topic = topic;
        s->number = p->number;
        s->next_offset = UNKNOWN;
        s->from_time = d->config->from == DRMQ_FROM_TIME;
        (void) map_insert(&d->sources, &s->id, &s->by_id, NULL); /* not there: looked above */
        return 0;
}

/* Adds what is there by now. Return: 0; EXIT_FAILED, EXIT_USAGE; negative errno; all logged. */
static int look_at_topics(struct directory *d) {
        const struct state *state = offline_node_topics(d->node);
        const struct directory_config *c = d->config;

        for (size_t i = 0; i < c->n_topics; i++) {
                const struct topic *t = state ? state_topic(state, c->topics[i]) : NULL;

                if (!t && !c->waits_for_topics) {
                        log_error("Topic %s does not exist in %s%s",
                                  c->topics[i],
                                  c->dir,
                                  offline_node_n_lost(d->node) > 0
                                          ? ", as far as its damaged shard 0 tells"
                                          : "");
                        return EXIT_FAILED;
                }
                if (!t) {
                        if (!d->is_known[i])
                                log_info("Topic %s does not exist; waiting for it", c->topics[i]);
                        d->is_known[i] = true;
                        continue;
                }
                d->is_known[i] = true;
                if (c->from == DRMQ_FROM_OFFSET && c->n_partitions == 0 && t->n_partitions > 1) {
                        log_error("Topic %s has %" PRIu32
                                  " partitions: an offset needs --partition; see drmq-recv --help",
                                  t->name,
                                  t->n_partitions);
                        return EXIT_USAGE;
                }
                for (size_t k = 0; k < c->n_partitions; k++)
                        if (c->partitions[k] >= t->n_partitions) {
                                log_error("Topic %s has no partition %" PRIu32,
                                          t->name,
                                          c->partitions[k]);
                                return EXIT_FAILED;
                        }
                for (uint32_t k = 0; k < t->n_partitions; k++) {
                        int r = wants_partition(d, k)
                                        ? add_source(d, c->topics[i], t->partitions[k])
                                        : 0;

                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

/* ---- Where to begin ---- */

/* The state of a shard as it is committed: where partitions end. */
static int load_state(struct directory *d, const struct log *l, struct state **ret) {
        _cleanup_(mem_freep) char *dir = datadir_path_of_shard(d->config->dir, l->number);
        _cleanup_(state_freep) struct state *state = NULL;
        int r;

        if (!dir)
                return -ENOMEM;
        r = state_new(&state);
        if (r >= 0)
                r = offline_state_load(d->io,
                                       dir,
                                       l->number,
                                       l->log,
                                       offline_log_commit_index(l->log),
                                       state,
                                       NULL);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(state);
        return 0;
}

/* By offset, or counted from the end. Lowers @index to where all sources' messages are. Return: 0;
 * EXIT_FAILED, negative errno; logged. */
static int begin_at_offset(struct directory *d, struct log *l, uint64_t *index) {
        _cleanup_(state_freep) struct state *state = NULL;
        int r;

        r = load_state(d, l, &state);
        if (r < 0)
                return log_error_errno(r, "Cannot read shard %" PRIu64 ": %m", l->number);

        MAP_FOREACH(&d->sources, n) {
                struct source *s = CONTAINER_OF(n, struct source, by_id);
                const struct partition *p = state_partition(state, s->id);
                uint64_t next = p ? p->next_offset : 0, value = (uint64_t) d->config->from_value;
                uint64_t at;

                if (d->config->from == DRMQ_FROM_OFFSET &&
                    (value > next || (p && value < p->first_offset))) {
                        log_error("%s/%" PRIu32 " has no offset %" PRIu64 ": it has %" PRIu64
                                  " to %" PRIu64,
                                  s->topic,
                                  s->number,
                                  value,
                                  p ? p->first_offset : 0,
                                  next);
                        return EXIT_FAILED;
                }
                s->from_offset = d->config->from == DRMQ_FROM_OFFSET ? value
                                 : value < next                      ? next - value
                                                                     : 0;
                r = offline_log_find_offset(l->log, s->id, s->from_offset, &at);
                if (r < 0)
                        return log_oom();
                *index = MIN(*index, at);
        }
        return 0;
}

static int begin(struct directory *d, struct log *l) {
        uint64_t index = offline_log_first_index(l->log);
        int r = 0;

        switch (d->config->from) {
        case DRMQ_FROM_END:
                index = 1 + (d->config->uncommitted ? offline_log_last_index(l->log)
                                                    : offline_log_commit_index(l->log));
                break;
        case DRMQ_FROM_TIME:
                r = offline_log_find_time(l->log, d->config->from_value, &index);
                if (r < 0)
                        return log_oom();
                break;
        case DRMQ_FROM_OFFSET:
        case DRMQ_FROM_LAST:
                index = offline_log_last_index(l->log) + 1;
                r = begin_at_offset(d, l, &index);
                break;
        default:
                /* A log that is there from its beginning has each partition's first offset. */
                if (index == 1)
                        MAP_FOREACH(&d->sources, n)
                                CONTAINER_OF(n, struct source, by_id)->next_offset = 0;
        }

        offline_log_seek(l->log, index);
        return r;
}

static int open_logs(struct directory *d) {
        const struct datadir_info *info = offline_node_info(d->node);
        int r;

        d->logs = new0(struct log, MAX(info->n_shards, (size_t) 1));
        if (!d->logs)
                return log_oom();

        for (size_t i = 0; i < info->n_shards; i++) {
                struct log *l = &d->logs[d->n_logs];

                if (info->shards[i] == 0)
                        continue;
                r = offline_node_open_log(d->node, info->shards[i], &l->log);
                if (r < 0)
                        return log_error_errno(r,
                                               "Cannot read %s/shard-%" PRIu64 ": %m",
                                               d->config->dir,
                                               info->shards[i]);
                l->number = info->shards[i];
                l->limit_index = d->config->uncommitted ? offline_log_last_index(l->log)
                                                        : offline_log_commit_index(l->log);
                d->n_logs++;
        }
        return 0;
}

/* ---- Following ---- */

static void watch(struct directory *d) {
        if (d->config->exit_at_end)
                return;

        d->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        for (size_t i = 0; d->inotify_fd >= 0 && i < offline_node_info(d->node)->n_shards; i++) {
                _cleanup_(mem_freep) char *dir = datadir_path_of_shard(
                        d->config->dir, offline_node_info(d->node)->shards[i]);

                if (dir) /* where it does not work, it is looked every second */
                        (void) inotify_add_watch(
                                d->inotify_fd, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
        }
}

static void drain_inotify(struct directory *d) {
        char p[4096];

        while (d->inotify_fd >= 0 && read(d->inotify_fd, p, sizeof(p)) > 0)
                ;
}

/* Waits until there may be more. Return: 1; 0 idle for long enough, or a signal came; negative
 * errno, logged unless -EPIPE. */
static int wait_for_more(struct directory *d) {
        usec_t now = now_monotonic_usec(), wait = LOOK_USEC;
        const usec_t idle = d->config->output->idle_usec;
        int r;

        r = writer_flush(&d->output); /* I1 */
        if (r >= 0 && writer_has_lost_reader(&d->output))
                r = -EPIPE;
        if (r < 0)
                return r == -EPIPE ? r : log_error_errno(r, "Cannot write to stdout: %m");

        if (idle != USEC_INFINITY) {
                if (usec_sub(now, d->last_usec) >= idle)
                        return 0;
                wait = MIN(wait, usec_sub(usec_add(d->last_usec, idle), now));
        }
        wait = MIN(wait, progress_wait_usec(&d->progress));
        r = interrupt_wait(-EBADF, d->inotify_fd, wait);
        if (r < 0)
                return log_error_errno(r, "Cannot wait: %m");
        drain_inotify(d);

        /* The logs first: whatever is in them, its topic is then known. */
        for (size_t i = 0; i < d->n_logs; i++) {
                r = offline_log_refresh(d->logs[i].log);
                if (r < 0)
                        return log_error_errno(
                                r, "Cannot read shard %" PRIu64 ": %m", d->logs[i].number);
        }
        r = offline_node_refresh(d->node);
        if (r < 0)
                return log_error_errno(r, "Cannot read the topics of %s: %m", d->config->dir);
        if (r > 0) {
                r = look_at_topics(d);
                if (r != 0)
                        return r < 0 ? r : -EIO;
        }
        return 1;
}

/* Return: 0 done; EXIT_…; negative errno; logged unless -EPIPE. */
static int read_all(struct directory *d) {
        uint64_t n;
        int r;

        for (;;) {
                n = d->n;
                for (size_t i = 0; i < d->n_logs; i++) {
                        r = drain(d, &d->logs[i]);
                        if (r <= 0)
                                return r;
                }
                if (d->n > n)
                        d->last_usec = now_monotonic_usec();
                if (d->config->exit_at_end)
                        return 0;
                r = wait_for_more(d);
                if (r <= 0)
                        return r;
        }
}

/* What was damaged up to the end, nothing tells the size of (I2). */
static void tell_open_damage(struct directory *d) {
        MAP_FOREACH(&d->sources, n) {
                struct source *s = CONTAINER_OF(n, struct source, by_id);

                if (s->bad_path && s->next_offset != UNKNOWN)
                        source_tell_lost(d, s, UNKNOWN);
        }
}

static int run(struct directory *d) {
        _cleanup_(mem_freep) char *what = NULL;
        int r;

        r = io_posix_new(NULL, &d->io);
        if (r < 0)
                return log_oom();
        r = writer_init(&d->output, STDOUT_FILENO, OUTPUT_BYTES);
        if (r < 0)
                return log_oom();
        d->codecs = codec_context_new();
        d->is_known = new0(bool, d->config->n_topics);
        if (!d->codecs || !d->is_known)
                return log_oom();

        r = offline_node_open(d->io, d->config->dir, &d->node, &what);
        if (r < 0 && what)
                return log_error_errno(r, "%s", what);
        if (r < 0)
                return log_error_errno(r, "Cannot read %s: %m", d->config->dir);
        if (offline_node_n_lost(d->node) > 0) {
                d->n_damaged++;
                log_error("Shard 0 of %s is damaged: topics may be missing", d->config->dir);
        }

        r = open_logs(d); /* before the topics are looked at: then none of theirs is unknown */
        if (r < 0)
                return r;
        r = offline_node_refresh(d->node);
        if (r < 0)
                return log_error_errno(r, "Cannot read the topics of %s: %m", d->config->dir);
        r = look_at_topics(d);
        if (r != 0)
                return r;
        for (size_t i = 0; i < d->n_logs; i++) {
                r = begin(d, &d->logs[i]);
                if (r != 0)
                        return r;
        }

        watch(d);
        d->last_usec = now_monotonic_usec();
        r = read_all(d);
        if (r == 0)
                tell_open_damage(d);
        if (r >= 0) {
                int k = writer_flush(&d->output);

                if (k < 0)
                        r = k == -EPIPE ? k : log_error_errno(k, "Cannot write to stdout: %m");
        }
        return r;
}

static void directory_done(struct directory *d) {
        MAP_FOREACH(&d->sources, n) {
                struct source *s = CONTAINER_OF(n, struct source, by_id);

                map_remove(&d->sources, n);
                mem_free(s->bad_path);
                mem_free(s);
        }
        for (size_t i = 0; i < d->n_logs; i++)
                offline_log_free(d->logs[i].log);
        mem_free(d->logs);
        offline_node_free(d->node);
        codec_context_free(d->codecs);
        writer_done(&d->output);
        mem_free(d->headers);
        mem_free(d->is_known);
        fd_close(d->inotify_fd);
        io_posix_free(d->io);
}

int directory_run(const struct directory_config *config) {
        struct directory d = { .config = config, .inotify_fd = -EBADF };
        int r;

        assert(config);
        assert(config->output);

        map_init(&d.sources, source_compare);
        d.wants_headers = format_wants_headers(config->output->format);
        progress_init(&d.progress,
                      config->output->progress,
                      "messages",
                      config->output->n_max == UINT64_MAX ? 0 : config->output->n_max);
        r = run(&d);
        progress_finish(&d.progress,
                        &(struct progress_state){ .n = d.n, .n_bytes = d.n_bytes, .done = d.n });

        if (r == -EPIPE) /* who reads has enough */
                r = EXIT_DONE;
        else if (r == -EACCES)
                r = EXIT_NOT_PERMITTED;
        else if (r < 0)
                r = exit_code_of(r);
        else if (r == 0 && d.n_damaged > 0) {
                log_error("%" PRIu64 " messages were read, %" PRIu64 " damaged places passed over",
                          d.n,
                          d.n_damaged);
                r = EXIT_FAILED;
        } else if (r == 0 && d.n == 0 && config->output->fail_if_empty)
                r = EXIT_NOTHING;
        directory_done(&d);
        return r;
}
