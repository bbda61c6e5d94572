/* SPDX-License-Identifier: Apache-2.0 */

/* Checker snapshot. It looks at the files themselves. */

#include "tests/sim/check-snapshots.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "log/checkpoint.h"
#include "offline/walk.h"
#include "snapshot/manifest.h"
#include "state/state.h"
#include "tests/sim/image.h"

enum presence {
        UNKNOWN,
        PRESENT,
        ABSENT,
};

struct sim_snapshots {
        struct sim_verdict *verdict;
        enum presence *presence;
        unsigned n;
};

int sim_snapshots_new(struct sim_verdict *verdict, struct sim_snapshots **ret) {
        struct sim_snapshots *c = must(calloc(1, sizeof(*c)));

        c->verdict = verdict;
        *ret = c;
        return 0;
}

struct sim_snapshots *sim_snapshots_free(struct sim_snapshots *c) {
        if (!c)
                return NULL;

        free(c->presence);
        free(c);
        return NULL;
}

void sim_snapshot_name(char dest[static 32], unsigned number) {
        (void) snprintf(dest, 32, "snapshot-%u", number);
}

unsigned sim_snapshots_begin(struct sim_snapshots *c) {
        c->presence = must(realloc(c->presence, (c->n + 1) * sizeof(*c->presence)));
        c->presence[c->n] = UNKNOWN;
        return c->n++;
}

unsigned sim_snapshots_pick(const struct sim_snapshots *c) {
        for (unsigned i = 0; i < c->n; i++)
                if (c->presence[i] == PRESENT)
                        return i;
        return UINT_MAX;
}

void sim_snapshots_on_present(struct sim_snapshots *c, unsigned number) {
        c->presence[number] = PRESENT;
}

void sim_snapshots_on_absent(struct sim_snapshots *c, unsigned number) {
        c->presence[number] = ABSENT;
}

void sim_snapshots_on_unknown(struct sim_snapshots *c, unsigned number) {
        c->presence[number] = UNKNOWN;
}

/* The table of contents; NULL: there is none that is good. */
static struct manifest *read_manifest(struct io *io, const char *dir) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) uint8_t *text = NULL;
        struct manifest *m = NULL;
        char path[512];
        uint64_t size;

        (void) snprintf(path, sizeof(path), "%s/" MANIFEST_CONTENTS_NAME, dir);
        if (io_open(io, path, IO_OPEN_READ, &file) < 0 || io_file_size(file, &size) < 0)
                return NULL;
        text = must(mem_alloc((size_t) size + 1));
        if (io_pread(file, text, (size_t) size, 0, /* flags= */ 0) != (ssize_t) size ||
            manifest_parse(text, (size_t) size, &m, /* reterr_line= */ NULL) < 0)
                return NULL;
        return m;
}

/* Return: 1 good; 0 not; -EAGAIN a bit of a checkpoint was flipped: nobody knows. */
static int shard_is_whole(struct io *io, const char *dir, const struct manifest_shard *s) {
        _cleanup_(checkpoint_done) struct checkpoint c = {};
        _cleanup_(state_freep) struct state *state = NULL;
        _cleanup_(walk_freep) struct walk *walk = NULL;
        struct entry e;
        unsigned n_bad;
        int r;

        r = checkpoint_load(io, dir, s->shard, &c, &n_bad);
        if (r >= 0 && n_bad > 0)
                return -EAGAIN;
        if (r < 0 || state_new(&state) < 0)
                return 0;
        if (r > 0) {
                if (state_decode(state, c.body, c.body_bytes) < 0)
                        return 0;
                state->index = c.index;
                state->term = c.term;
                state->time_ms = c.append_time_ms;
        }
        if (walk_new(io, dir, s->shard, state->index + 1, &walk) < 0)
                return 0;
        while ((r = walk_next(walk, &e)) > 0)
                if (e.index != state->index + 1 || state_apply(state, &e) < 0)
                        return 0;
        return r == 0 && state->index == s->last_index &&
               s->first_index <= state->log_start_index + 1;
}

static void judge_one(struct sim_snapshots *c, struct io *io, const char *dir) {
        _cleanup_(manifest_freep) struct manifest *m = read_manifest(io, dir);
        char path[512];

        if (!m) {
                sim_violation(c->verdict, "snapshot", "%s has no table of contents", dir);
                return;
        }
        for (size_t i = 0; i < m->n_files; i++) {
                struct io_stat st;

                (void) snprintf(path, sizeof(path), "%s/%s", dir, m->files[i].path);
                if (io_stat(io, path, &st) < 0 || st.size_bytes != m->files[i].n_bytes)
                        sim_violation(c->verdict,
                                      "snapshot",
                                      "%s is not there, or has not %" PRIu64 " bytes",
                                      path,
                                      m->files[i].n_bytes);
        }
        for (size_t i = 0; i < m->n_shards; i++) {
                const struct manifest_shard *s = m->shards + i;

                (void) snprintf(path, sizeof(path), "%s/shard-%" PRIu64, dir, s->shard);
                if (shard_is_whole(io, path, s) == 0)
                        sim_violation(c->verdict,
                                      "snapshot",
                                      "%s does not hold all of entries %" PRIu64 " to %" PRIu64,
                                      path,
                                      s->first_index,
                                      s->last_index);
        }
}

void sim_snapshots_judge(struct sim_snapshots *c, struct sim_disk *disk, const char *data_dir) {
        struct io *io = sim_disk_io(disk);

        for (unsigned i = 0; i < c->n; i++) {
                char name[32], dir[256];
                struct io_stat st;
                bool is_there;

                sim_snapshot_name(name, i);
                (void) snprintf(dir, sizeof(dir), "%s/snapshots/%s", data_dir, name);
                is_there = io_stat(io, dir, &st) >= 0;
                if (is_there && c->presence[i] == ABSENT)
                        sim_violation(c->verdict, "snapshot", "%s was deleted, and is there", dir);
                else if (!is_there && c->presence[i] == PRESENT)
                        sim_violation(c->verdict, "snapshot", "%s was made, and is not there", dir);
                else if (is_there)
                        judge_one(c, io, dir);
        }
}
