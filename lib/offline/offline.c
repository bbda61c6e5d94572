/* SPDX-License-Identifier: Apache-2.0 */
/* A node's directory: topics from shard 0, logs of the others. Reading a log is offline-log.c. */
#include "offline/offline.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "log/checkpoint.h"

/* A checkpoint that is listed may be pruned before it is opened. */
#define LOOKS_MAX 100u

struct offline_node {
        struct io *io;
        const char *path;
        struct datadir_info info;
        struct offline_log *meta; /* NULL: there is no shard 0 */
        struct state *topics;
        unsigned n_lost;
};

int offline_state_apply(struct offline_log *l,
                        uint64_t limit_index,
                        struct state *s,
                        unsigned *ret_n_lost) {
        unsigned n_lost = 0;
        struct entry e;
        int r;

        assert(l);
        assert(s);

        for (;;) {
                r = offline_log_next(l, limit_index, &e);
                if (r == 0)
                        break;
                if (r > 0 && e.index <= s->index)
                        continue;
                if (r > 0)
                        r = state_apply(s, &e);
                if (r == -EBADMSG) /* or it rests on one that is lost */
                        n_lost++;
                else if (r < 0)
                        return r;
        }

        if (ret_n_lost)
                *ret_n_lost += n_lost;
        return 0;
}

int offline_state_load(struct io *io,
                       const char *dir,
                       uint64_t shard,
                       struct offline_log *l,
                       uint64_t limit_index,
                       struct state *s,
                       unsigned *ret_n_lost) {
        _cleanup_(checkpoint_done) struct checkpoint c = {};
        int r = -ENOENT;

        assert(io);
        assert(dir);

        for (unsigned i = 0; i < LOOKS_MAX && r == -ENOENT; i++)
                r = checkpoint_load(io, dir, shard, &c, NULL);
        if (r < 0)
                return r;
        if (r > 0) {
                r = state_decode(s, c.body, c.body_bytes);
                if (r < 0)
                        return r;
                s->index = c.index;
                s->term = c.term;
                s->time_ms = c.append_time_ms;
        }

        offline_log_seek(l, MAX(s->index + 1, offline_log_first_index(l)));
        if (ret_n_lost) {
                *ret_n_lost = offline_log_first_index(l) > s->index + 1;
        }
        return offline_state_apply(l, limit_index, s, ret_n_lost);
}

static int refuse(char **reterr_what, int error, const char *path, const char *what) {
        if (reterr_what)
                *reterr_what = mem_asprintf("%s%s", path, what);
        return error;
}

/* Shard 0 and the topics in it. */
static int load_topics(struct offline_node *n) {
        _cleanup_(mem_freep) char *dir = datadir_path_of_shard(n->path, 0);
        int r;

        if (!dir)
                return -ENOMEM;

        r = offline_log_open(n->io, dir, 0, &n->meta);
        if (r < 0)
                return r;
        r = state_new(&n->topics);
        if (r < 0)
                return r;
        return offline_state_load(
                n->io, dir, 0, n->meta, offline_log_last_index(n->meta), n->topics, &n->n_lost);
}

int offline_node_open(struct io *io,
                      const char *path,
                      struct offline_node **ret,
                      char **reterr_what) {
        _cleanup_(offline_node_freep) struct offline_node *n = NULL;
        int r;

        assert(io);
        assert(path);
        assert(ret);

        if (reterr_what)
                *reterr_what = NULL;

        n = new0(struct offline_node, 1);
        if (!n)
                return -ENOMEM;
        n->io = io;
        n->path = path;

        r = datadir_read(io, path, &n->info);
        if (r == -ENOTDIR)
                return refuse(reterr_what, r, path, " is not a node's directory");
        if (r == -EPROTONOSUPPORT)
                return refuse(reterr_what, r, path, "/node is of a newer format");
        if (r < 0)
                return r;

        if (n->info.n_shards > 0 && n->info.shards[0] == 0) {
                r = load_topics(n);
                if (r == -EPROTONOSUPPORT)
                        return refuse(reterr_what, r, path, "/shard-0 is of a newer format");
                if (r == -ENOENT) { /* lost: the names, not the messages */
                        n->meta = offline_log_free(n->meta);
                        n->topics = state_free(n->topics);
                        n->n_lost++;
                } else if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(n);
        return 0;
}

struct offline_node *offline_node_free(struct offline_node *n) {
        if (!n)
                return NULL;

        offline_log_free(n->meta);
        state_free(n->topics);
        return mem_free(n);
}

const struct datadir_info *offline_node_info(const struct offline_node *n) {
        return &n->info;
}

const struct state *offline_node_topics(const struct offline_node *n) {
        return n->topics;
}

unsigned offline_node_n_lost(const struct offline_node *n) {
        return n->n_lost;
}

int offline_node_refresh(struct offline_node *n) {
        uint64_t index;
        int r;

        assert(n);

        if (!n->meta)
                return 0;

        r = offline_log_refresh(n->meta);
        if (r <= 0)
                return r;
        index = n->topics->index;
        r = offline_state_apply(n->meta, offline_log_last_index(n->meta), n->topics, &n->n_lost);
        return r < 0 ? r : n->topics->index > index;
}

int offline_node_open_log(const struct offline_node *n, uint64_t shard, struct offline_log **ret) {
        _cleanup_(mem_freep) char *dir = datadir_path_of_shard(n->path, shard);

        return dir ? offline_log_open(n->io, dir, shard, ret) : -ENOMEM;
}
