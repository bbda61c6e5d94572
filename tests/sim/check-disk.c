/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Checkers durable and hardstate.
 *
 * I1: a group header counts only if its salted checksum is right and it stands on a sector boundary
 * of its segment.
 */

#include "tests/sim/check-disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "log/format.h"
#include "tests/sim/image.h"

#define COPY_BYTES 4096u
#define MAGIC_GROUP "DRGW"
#define MAGIC_SEGMENT "DRSG"

struct group {
        char *path;
        uint64_t pos;
        uint8_t header[GROUP_HEADER_BYTES];
};

/* The newer copy of a hardstate file, when it was answered for. */
struct hard {
        char *path;
        uint64_t sequence, term;
};

struct sim_disk_check {
        struct sim_verdict *verdict;
        struct sim_disk *disk;
        const char *data_dir;
        struct group *groups; /* that must be there after the start */
        size_t n_groups, n_groups_allocated;
        struct hard *hards;
        size_t n_hards;
};

int sim_disk_check_new(struct sim_verdict *verdict,
                       struct sim_disk *disk,
                       const char *data_dir,
                       struct sim_disk_check **ret) {
        struct sim_disk_check *c = must(calloc(1, sizeof(*c)));

        c->verdict = verdict;
        c->disk = disk;
        c->data_dir = data_dir;
        *ret = c;
        return 0;
}

static void forget_groups(struct sim_disk_check *c) {
        for (size_t i = 0; i < c->n_groups; i++)
                free(c->groups[i].path);
        c->n_groups = 0;
}

struct sim_disk_check *sim_disk_check_free(struct sim_disk_check *c) {
        if (!c)
                return NULL;

        forget_groups(c);
        free(c->groups);
        for (size_t i = 0; i < c->n_hards; i++)
                free(c->hards[i].path);
        free(c->hards);
        free(c);
        return NULL;
}

static char *join(const char *a, const char *b) {
        char *s;

        if (asprintf(&s, "%s/%s", a, b) < 0)
                abort();
        return s;
}

static bool ends_with(const char *s, const char *end) {
        size_t n = strlen(s), n_end = strlen(end);

        return n >= n_end && streq(s + n - n_end, end);
}

/* Segments that a check looks at: only the newest is ever cut, and a file that was closed stays as
 * it is. */
#define NEWEST_SEGMENTS 2u

/* Calls @f for each file of each shard, in the order of names. */
static void for_each_file(struct sim_disk_check *c,
                          void (*f)(struct sim_disk_check *c, const char *path, void *userdata),
                          void *userdata) {
        char **shards = NULL, **names = NULL;
        size_t n_shards, n_names;

        if (sim_disk_peek_list(c->disk, c->data_dir, &shards, &n_shards) < 0)
                return;

        for (size_t i = 0; i < n_shards; i++) {
                char *dir = join(c->data_dir, shards[i]);

                if (strncmp(shards[i], "shard-", 6) == 0 &&
                    sim_disk_peek_list(c->disk, dir, &names, &n_names) >= 0) {
                        for (size_t k = 0; k < n_names; k++) {
                                char *path = join(dir, names[k]);

                                f(c, path, userdata);
                                free(path);
                        }
                        io_names_free(names, n_names);
                }
                free(dir);
        }
        io_names_free(shards, n_shards);
}

/* Returns new bytes of a segment with a good header; NULL: it is none. */
static uint8_t *
read_segment(struct sim_disk_check *c, const char *path, uint64_t *ret_size, uint32_t *ret_salt) {
        uint64_t size;
        uint8_t *p;

        if (!ends_with(path, ".log") || sim_disk_peek_size(c->disk, path, &size) < 0 ||
            size < SEGMENT_HEADER_BYTES)
                return NULL;

        p = must(malloc(size));
        if (sim_disk_peek(c->disk, path, p, size, 0) != (ssize_t) size ||
            memcmp(p + 4, MAGIC_SEGMENT, 4) != 0 ||
            crc32c(0, p + 4, SEGMENT_HEADER_BYTES - 4) != le32_load(p)) {
                free(p);
                return NULL;
        }

        *ret_size = size;
        *ret_salt = le32_load(p + 40);
        return p;
}

static bool is_group(const uint8_t *p, uint32_t salt) {
        return memcmp(p + 4, MAGIC_GROUP, 4) == 0 &&
               crc32c(salt, p + 4, GROUP_HEADER_BYTES - 4) == le32_load(p);
}

/* The highest index that the file names durable; what lies before it in the file is synced. */
static uint64_t named_durable(const uint8_t *p, uint64_t size, uint32_t salt) {
        uint64_t d = 0;

        for (uint64_t pos = SEGMENT_HEADER_BYTES; pos + LOG_SECTOR_BYTES <= size;
             pos += LOG_SECTOR_BYTES)
                if (is_group(p + pos, salt)) /* I1 */
                        d = MAX(d, le64_load(p + pos + 40));
        return d;
}

static void note_groups_of(struct sim_disk_check *c, const char *path) {
        uint32_t salt;
        uint64_t size, d;
        uint8_t *p = path ? read_segment(c, path, &size, &salt) : NULL;

        if (!p)
                return;

        d = named_durable(p, size, salt);
        for (uint64_t pos = SEGMENT_HEADER_BYTES; pos + LOG_SECTOR_BYTES <= size;
             pos += LOG_SECTOR_BYTES) {
                if (!is_group(p + pos, salt) || le64_load(p + pos + 16) > d)
                        continue;
                if (c->n_groups == c->n_groups_allocated) {
                        c->n_groups_allocated = MAX(c->n_groups_allocated * 2, (size_t) 256);
                        c->groups = must(
                                realloc(c->groups, c->n_groups_allocated * sizeof(*c->groups)));
                }
                c->groups[c->n_groups].path = must(strdup(path));
                c->groups[c->n_groups].pos = pos;
                memcpy(c->groups[c->n_groups].header, p + pos, GROUP_HEADER_BYTES);
                c->n_groups++;
        }
        free(p);
}

/* The newest segments of the shard that is being walked through. */
struct newest {
        char *paths[NEWEST_SEGMENTS];
};

static void note_newest(struct sim_disk_check *c, struct newest *newest) {
        for (unsigned i = 0; i < NEWEST_SEGMENTS; i++) {
                note_groups_of(c, newest->paths[i]);
                free(newest->paths[i]);
                newest->paths[i] = NULL;
        }
}

static bool is_same_folder(const char *a, const char *b) {
        return strrchr(a, '/') - a == strrchr(b, '/') - b &&
               strncmp(a, b, (size_t) (strrchr(a, '/') - a)) == 0;
}

static void find_newest(struct sim_disk_check *c, const char *path, void *userdata) {
        struct newest *newest = userdata;

        if (!ends_with(path, ".log"))
                return;
        if (newest->paths[0] && !is_same_folder(newest->paths[0], path))
                note_newest(c, newest);

        free(newest->paths[NEWEST_SEGMENTS - 1]);
        memmove(newest->paths + 1, newest->paths, (NEWEST_SEGMENTS - 1) * sizeof(newest->paths[0]));
        newest->paths[0] = must(strdup(path));
}

void sim_disk_check_before_start(struct sim_disk_check *c) {
        struct newest newest = {};

        forget_groups(c);
        for_each_file(c, find_newest, &newest);
        note_newest(c, &newest);
}

void sim_disk_check_after_start(struct sim_disk_check *c) {
        uint8_t *p = NULL;
        uint64_t size = 0;

        for (size_t i = 0; i < c->n_groups; i++) {
                const struct group *g = c->groups + i;
                uint32_t salt;

                if (i == 0 || !streq(g->path, c->groups[i - 1].path)) {
                        free(p);
                        p = read_segment(c, g->path, &size, &salt);
                }
                if (!p || g->pos + GROUP_HEADER_BYTES > size ||
                    memcmp(p + g->pos, g->header, GROUP_HEADER_BYTES) != 0)
                        sim_violation(c->verdict,
                                      "durable",
                                      "the group of entries %" PRIu64 " to %" PRIu64 " at %" PRIu64
                                      " of %s was named durable, and is gone after a start",
                                      le64_load(g->header + 8),
                                      le64_load(g->header + 16),
                                      g->pos,
                                      g->path);
        }
        free(p);
}

/* Whether a copy is good; its sequence. */
static bool
read_copy(struct sim_disk *d, const char *path, unsigned i, uint8_t p[static COPY_BYTES]) {
        return sim_disk_peek_durable(d, path, p, COPY_BYTES, (uint64_t) i * COPY_BYTES) ==
                       COPY_BYTES &&
               crc32c(0, p + 4, COPY_BYTES - 4) == le32_load(p) && le32_load(p) != 0;
}

unsigned sim_disk_check_copies(struct sim_disk *disk, const char *path) {
        uint8_t copy[COPY_BYTES];

        return (unsigned) read_copy(disk, path, 0, copy) +
               (unsigned) read_copy(disk, path, 1, copy);
}

static void note_hardstate(struct sim_disk_check *c, const char *path, void *userdata) {
        uint64_t sequence = 0, term = 0;
        const bool *must_rise = userdata;
        uint8_t copy[COPY_BYTES];
        struct hard *h = NULL;

        if (!ends_with(path, "/hardstate"))
                return;

        for (unsigned i = 0; i < 2; i++)
                if (read_copy(c->disk, path, i, copy) && le64_load(copy + 16) >= sequence) {
                        sequence = le64_load(copy + 16);
                        term = le64_load(copy + 24);
                }

        for (size_t i = 0; i < c->n_hards; i++)
                if (streq(c->hards[i].path, path))
                        h = c->hards + i;
        if (!h) {
                c->hards = must(realloc(c->hards, (c->n_hards + 1) * sizeof(*c->hards)));
                h = c->hards + c->n_hards++;
                *h = (struct hard){ .path = must(strdup(path)) };
        }

        if (term < h->term || sequence < h->sequence ||
            (*must_rise && h->sequence > 0 && (term == h->term || sequence == h->sequence)))
                sim_violation(c->verdict,
                              "hardstate",
                              "%s has state %" PRIu64 " (term %" PRIu64
                              ") after a start, and had state %" PRIu64 " (term %" PRIu64
                              ") answered for before",
                              path,
                              sequence,
                              term,
                              h->sequence,
                              h->term);
        h->sequence = sequence;
        h->term = term;
}

void sim_disk_check_on_ready(struct sim_disk_check *c, bool must_rise) {
        for_each_file(c, note_hardstate, &must_rise);
}

struct pick {
        struct random *random;
        const char *shard;
        bool anywhere;
        unsigned n; /* candidates so far: each is taken with the same chance */
        char *path;
        uint64_t pos;
};

static void pick_in(struct sim_disk_check *c, const char *path, void *userdata) {
        struct pick *pick = userdata;
        uint32_t salt;
        uint64_t size, d;
        uint8_t *p = strstr(path, pick->shard) ? read_segment(c, path, &size, &salt) : NULL;

        if (!p)
                return;

        d = named_durable(p, size, salt);
        for (uint64_t pos = SEGMENT_HEADER_BYTES; pos + LOG_SECTOR_BYTES <= size;
             pos += LOG_SECTOR_BYTES) {
                uint64_t n;

                if (!is_group(p + pos, salt) || le64_load(p + pos + 16) > d ||
                    le64_load(p + pos + 16) < le64_load(p + pos + 8))
                        continue;
                if (random_below(pick->random, ++pick->n) > 0)
                        continue;

                n = pick->anywhere ? MIN((uint64_t) le32_load(p + pos + 32), size - pos)
                                   : GROUP_HEADER_BYTES;
                free(pick->path);
                pick->path = must(strdup(path));
                pick->pos = pos + random_below(pick->random, n);
        }
        free(p);
}

bool sim_disk_check_pick(struct sim_disk_check *c,
                         struct random *random,
                         const char *shard,
                         bool anywhere,
                         char **ret_path,
                         uint64_t *ret_pos) {
        struct pick pick = { .random = random, .shard = shard, .anywhere = anywhere };

        for_each_file(c, pick_in, &pick);
        if (!pick.path)
                return false;

        *ret_path = pick.path;
        *ret_pos = pick.pos;
        return true;
}
