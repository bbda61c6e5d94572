/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's directory: who it belongs to, and which shards it holds (the table of `node` is in
 * log/format.h).
 *
 *  I1  A shard is listed only once it is whole, synced and under its final name; so a shard that is
 *      listed was there.
 *  I2  Nothing is made or removed before the lock is held and both copies of `node` have been
 *      looked at; nothing is made where `node` is missing and anything speaks for its having been
 *      there.
 *  I3  As in hardstate.c: one copy after the other, each synced, and nothing counts before a sync
 *      of our own.
 */
#include "log/datadir.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/messages.h"
#include "log/format.h"
#include "log/shard-log.h"

#define NODE_MAGIC UINT32_C(0x444e5244) /* "DRND" */
#define N_COPIES 2u
#define NODE_HEADER_BYTES 64u
#define SHARDS_MAX ((NODE_COPY_BYTES - NODE_HEADER_BYTES) / 8u)
#define SHARD_PREFIX "shard-"

static_assert(SHARDS_MAX == DATADIR_SHARDS_MAX, "what a copy has room for");

struct node {
        uint64_t sequence;
        struct node_identity identity;
        size_t n_shards;
        uint64_t shards[SHARDS_MAX];
};

struct datadir {
        struct io *io;
        char *path;
        struct io_file *lock;
        struct io_file *file; /* `node` */
        struct node node;
};

/* Says why, where somebody asked; returns @error. */
_printf_(3, 4) static int refuse(char **reterr_what, int error, const char *format, ...) {
        char text[512];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap); /* a long path is cut */
        va_end(ap);

        if (reterr_what && !*reterr_what)
                *reterr_what = mem_strdup(text); /* without memory there is the error itself */
        return error;
}

static char *path_in(const struct datadir *d, const char *name) {
        return mem_asprintf("%s/%s", d->path, name);
}

static bool shard_name_parse(const char *name, uint64_t *ret) {
        const size_t n_prefix = strlen(SHARD_PREFIX);
        char again[32];
        uint64_t v = 0;

        if (strncmp(name, SHARD_PREFIX, n_prefix) != 0 || strlen(name) > n_prefix + 20)
                return false;

        for (const char *p = name + n_prefix; *p; p++) {
                if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
                    __builtin_add_overflow(v, (uint64_t) (*p - '0'), &v))
                        return false;
        }

        (void) snprintf(again, sizeof(again), SHARD_PREFIX "%" PRIu64, v); /* one spelling only */
        if (!streq(again, name))
                return false;

        *ret = v;
        return true;
}

/* ---- The file `node` ---- */

static void node_encode(const struct node *n, uint8_t p[static NODE_COPY_BYTES]) {
        memset(p, 0, NODE_COPY_BYTES);
        le32_store(p + 4, NODE_MAGIC);
        le32_store(p + 8, LOG_FORMAT_VERSION);
        le32_store(p + 12, (uint32_t) n->n_shards);
        le64_store(p + 16, n->sequence);
        le64_store(p + 24, n->identity.node_id);
        memcpy(p + 32, n->identity.cluster_id, sizeof(n->identity.cluster_id));
        memcpy(p + 48, n->identity.incarnation, sizeof(n->identity.incarnation));
        for (size_t i = 0; i < n->n_shards; i++)
                le64_store(p + NODE_HEADER_BYTES + i * 8, n->shards[i]);
        le32_store(p, crc32c(0, p + 4, NODE_COPY_BYTES - 4));
}

static int node_decode(const uint8_t p[static NODE_COPY_BYTES], struct node *ret) {
        size_t n_shards;

        if (le32_load(p + 4) != NODE_MAGIC || crc32c(0, p + 4, NODE_COPY_BYTES - 4) != le32_load(p))
                return -EBADMSG;
        if (le32_load(p + 8) > LOG_FORMAT_VERSION)
                return -EPROTONOSUPPORT;

        n_shards = le32_load(p + 12);
        if (n_shards > SHARDS_MAX || le64_load(p + 24) == 0)
                return -EBADMSG;
        for (size_t i = 1; i < n_shards; i++) {
                if (le64_load(p + NODE_HEADER_BYTES + i * 8) <=
                    le64_load(p + NODE_HEADER_BYTES + (i - 1) * 8))
                        return -EBADMSG;
        }

        ret->sequence = le64_load(p + 16);
        ret->identity.node_id = le64_load(p + 24);
        memcpy(ret->identity.cluster_id, p + 32, sizeof(ret->identity.cluster_id));
        memcpy(ret->identity.incarnation, p + 48, sizeof(ret->identity.incarnation));
        ret->n_shards = n_shards;
        for (size_t i = 0; i < n_shards; i++)
                ret->shards[i] = le64_load(p + NODE_HEADER_BYTES + i * 8);
        return 0;
}

static int write_copy(struct io_file *file, const uint8_t *block, unsigned copy) {
        int r;

        r = io_pwrite(file, block, NODE_COPY_BYTES, (uint64_t) copy * NODE_COPY_BYTES);
        if (r < 0)
                return r;

        return io_fdatasync(file);
}

static int node_write(struct io_file *file, const struct node *n) {
        _cleanup_(mem_freep) uint8_t *block = NULL;
        int r;

        block = mem_alloc(NODE_COPY_BYTES);
        if (!block)
                return -ENOMEM;

        node_encode(n, block);
        for (unsigned i = 0; i < N_COPIES; i++) {
                r = write_copy(file, block, i); /* I3 */
                if (r < 0)
                        return r;
        }

        return 0;
}

/* Takes the newer good copy and repairs the other. */
static int node_read(struct io_file *file, struct node *ret) {
        _cleanup_(mem_freep) uint8_t *blocks = NULL;
        _cleanup_(mem_freep) struct node *nodes = NULL;
        int state[N_COPIES];
        unsigned newer;
        int r;

        blocks = mem_alloc0(N_COPIES * NODE_COPY_BYTES);
        nodes = new0(struct node, N_COPIES);
        if (!blocks || !nodes)
                return -ENOMEM;

        r = io_fdatasync(file); /* I3 */
        if (r < 0)
                return r;

        for (unsigned i = 0; i < N_COPIES; i++) {
                uint8_t *block = blocks + (size_t) i * NODE_COPY_BYTES;
                ssize_t n;

                n = io_pread(file,
                             block,
                             NODE_COPY_BYTES,
                             (uint64_t) i * NODE_COPY_BYTES,
                             /* flags= */ 0);
                if (n < 0 && n != -EIO) /* what cannot be read is as good as damaged */
                        return (int) n;

                state[i] = n == NODE_COPY_BYTES ? node_decode(block, nodes + i) : -EBADMSG;
                if (state[i] == -EPROTONOSUPPORT)
                        return state[i];
        }
        if (state[0] < 0 && state[1] < 0)
                return -EBADMSG;

        newer = state[0] < 0 || (state[1] >= 0 && nodes[1].sequence > nodes[0].sequence);
        if (memcmp(blocks, blocks + NODE_COPY_BYTES, NODE_COPY_BYTES) != 0) {
                r = write_copy(file, blocks + (size_t) newer * NODE_COPY_BYTES, !newer);
                if (r < 0)
                        return r;
        }

        *ret = nodes[newer];
        return 0;
}

/* ---- Opening ---- */

/* Removes a file, or a folder with what is in it. What is not there is fine. */
static int remove_tree(struct io *io, const char *path) {
        struct io_stat st;
        char **names;
        size_t n;
        int r;

        r = io_stat(io, path, &st);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if (!st.is_dir)
                return io_unlink(io, path);

        r = io_list(io, path, &names, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < n; i++) {
                _cleanup_(mem_freep) char *child = mem_asprintf("%s/%s", path, names[i]);

                r = child ? remove_tree(io, child) : -ENOMEM;
        }
        io_names_free(names, n);
        if (r < 0)
                return r;

        return io_rmdir(io, path);
}

struct contents {
        bool has_node;
        bool has_shards;
        char *foreign; /* the first name that is not ours */
};

static int look_into(struct datadir *d, struct contents *ret) {
        char **names;
        size_t n;
        int r;

        r = io_list(d->io, d->path, &names, &n);
        if (r < 0)
                return r;

        *ret = (struct contents){};
        for (size_t i = 0; i < n; i++) {
                uint64_t shard;

                if (streq(names[i], "node"))
                        ret->has_node = true;
                else if (shard_name_parse(names[i], &shard) || streq(names[i], "snapshots"))
                        ret->has_shards = true;
                else if (!streq(names[i], "lock") && !streq(names[i], "incoming") &&
                         !streq(names[i], "lost+found") && !ret->foreign) {
                        ret->foreign = mem_strdup(names[i]);
                        r = ret->foreign ? 0 : -ENOMEM;
                }
        }
        io_names_free(names, n);
        return r;
}

/* Refuses a folder that `node` is missing from, unless it is empty but for what a first start
 * leaves (I2). */
static int check_contents(struct datadir *d, bool *ret_has_node, char **reterr_what) {
        struct contents c;
        int r;

        r = look_into(d, &c);
        if (r < 0)
                return r;

        if (!c.has_node && c.has_shards)
                r = refuse(
                        reterr_what,
                        -EBADMSG,
                        "%s holds shards, but the file \"node\" that lists them is missing; nothing was changed",
                        d->path);
        else if (!c.has_node && c.foreign)
                r = refuse(reterr_what,
                           -ENOTEMPTY,
                           "%s is not a node's directory: it holds \"%s\"",
                           d->path,
                           c.foreign);
        mem_free(c.foreign);
        *ret_has_node = c.has_node;
        return r;
}

static int take_lock(struct datadir *d, char **reterr_what) {
        _cleanup_(mem_freep) char *path = path_in(d, "lock");
        int r;

        if (!path)
                return -ENOMEM;

        r = io_open(d->io, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE, &d->lock);
        if (r == -EEXIST)
                r = io_open(d->io, path, IO_OPEN_READ | IO_OPEN_WRITE, &d->lock);
        if (r < 0)
                return r;

        r = io_lock(d->lock);
        if (r == -EBUSY)
                return refuse(reterr_what, r, "%s is in use by another process", d->path);
        return r;
}

/* "DIR/NAME" -> "DIR". */
static char *parent_of(const char *path) {
        size_t n = strlen(path);

        while (n > 1 && path[n - 1] == '/')
                n--;
        while (n > 0 && path[n - 1] != '/')
                n--;
        if (n == 0)
                return mem_strdup(".");
        while (n > 1 && path[n - 1] == '/')
                n--;

        return mem_strndup(path, n);
}

/* Writes `node` for the first time. */
static int make_node(struct datadir *d, uint64_t node_id) {
        _cleanup_(mem_freep) char *incoming = path_in(d, "incoming");
        _cleanup_(mem_freep) char *from = path_in(d, "incoming/node");
        _cleanup_(mem_freep) char *to = path_in(d, "node");
        _cleanup_(mem_freep) char *parent = parent_of(d->path);
        int r;

        if (!incoming || !from || !to || !parent)
                return -ENOMEM;

        /* The directory's own name; where we may not look into its parent, somebody else made
         * it. */
        r = io_sync_dir(d->io, parent);
        if (r < 0 && r != -EACCES)
                return r;

        d->node = (struct node){ .sequence = 1, .identity.node_id = node_id > 0 ? node_id : 1 };
        io_random(d->io, d->node.identity.cluster_id, sizeof(d->node.identity.cluster_id));
        io_random(d->io, d->node.identity.incarnation, sizeof(d->node.identity.incarnation));

        r = io_open(d->io, from, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE, &d->file);
        if (r < 0)
                return r;
        r = node_write(d->file, &d->node);
        if (r < 0)
                return r;
        r = io_sync_dir(d->io, incoming);
        if (r < 0)
                return r;
        r = io_rename(d->io, from, to);
        if (r < 0)
                return r;
        r = io_sync_dir(d->io, d->path);
        if (r < 0)
                return r;

        return 0;
}

static int read_node(struct datadir *d, uint64_t node_id, char **reterr_what) {
        _cleanup_(mem_freep) char *path = path_in(d, "node");
        int r;

        if (!path)
                return -ENOMEM;

        r = io_open(d->io, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_DIRECT, &d->file);
        if (r < 0)
                return r;

        r = node_read(d->file, &d->node);
        if (r == -EBADMSG)
                return refuse(
                        reterr_what, r, "%s: both copies are damaged; nothing was changed", path);
        if (r == -EPROTONOSUPPORT)
                return refuse(reterr_what, r, "%s is of a newer format", path);
        if (r < 0)
                return r;

        if (node_id > 0 && node_id != d->node.identity.node_id)
                return refuse(reterr_what,
                              -EXDEV,
                              "%s belongs to node %" PRIu64 ", not to node %" PRIu64,
                              d->path,
                              d->node.identity.node_id,
                              node_id);
        return 0;
}

/* An empty incoming/: what is in it did not get finished. */
static int clear_incoming(struct datadir *d) {
        _cleanup_(mem_freep) char *path = path_in(d, "incoming");
        int r;

        if (!path)
                return -ENOMEM;

        r = remove_tree(d->io, path);
        if (r < 0)
                return r;

        return io_mkdir(d->io, path);
}

/* What is listed must be there; what is not listed did not get finished. */
static int check_shards(struct datadir *d, const struct tracer *tracer, char **reterr_what) {
        char **names;
        size_t n;
        int r;

        for (size_t i = 0; i < d->node.n_shards; i++) {
                _cleanup_(mem_freep) char *path = datadir_shard_path(d, d->node.shards[i]);
                struct io_stat st;

                if (!path)
                        return -ENOMEM;
                r = io_stat(d->io, path, &st);
                if (r == -ENOENT || (r >= 0 && !st.is_dir))
                        return refuse(
                                reterr_what, -EBADMSG, "%s is missing; nothing was changed", path);
                if (r < 0)
                        return r;
        }

        r = io_list(d->io, d->path, &names, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < n; i++) {
                _cleanup_(mem_freep) char *path = NULL;
                uint64_t shard;

                if (!shard_name_parse(names[i], &shard) || datadir_has_shard(d, shard))
                        continue;

                path = path_in(d, names[i]);
                r = path ? remove_tree(d->io, path) : -ENOMEM;
                if (r >= 0)
                        trace(tracer,
                              LOG_NOTICE,
                              DRMQ_MESSAGE_LOG_UNFINISHED_CREATION,
                              FIELDS(FIELD_SHARD(shard), FIELD_FILE(path)),
                              "Shard %" PRIu64 " had not been made completely and was removed",
                              shard);
        }
        io_names_free(names, n);
        return r;
}

int datadir_open(struct io *io,
                 const char *path,
                 uint64_t node_id,
                 const struct tracer *tracer,
                 struct datadir **ret,
                 char **reterr_what) {
        _cleanup_(datadir_freep) struct datadir *d = NULL;
        bool has_node;
        int r;

        assert(io);
        assert(path);
        assert(ret);

        if (reterr_what)
                *reterr_what = NULL;

        d = new0(struct datadir, 1);
        if (!d)
                return -ENOMEM;
        d->io = io;
        d->path = mem_strdup(path);
        if (!d->path)
                return -ENOMEM;

        r = io_mkdir(io, path);
        if (r < 0 && r != -EEXIST)
                return r;

        /* Before the lock, so that no file is put into a foreign folder; and behind it, because
         * another process may have been at work until then. */
        r = check_contents(d, &has_node, reterr_what);
        if (r < 0)
                return r;
        r = take_lock(d, reterr_what);
        if (r < 0)
                return r;
        r = check_contents(d, &has_node, reterr_what);
        if (r < 0)
                return r;

        if (has_node) {
                r = read_node(d, node_id, reterr_what);
                if (r < 0)
                        return r;
                r = check_shards(d, tracer, reterr_what);
                if (r < 0)
                        return r;
        }

        r = clear_incoming(d);
        if (r < 0)
                return r;
        r = has_node ? io_sync_dir(io, path) : make_node(d, node_id);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(d);
        return 0;
}

struct datadir *datadir_free(struct datadir *d) {
        if (!d)
                return NULL;

        io_file_unref(d->file);
        io_file_unref(d->lock); /* last: it lets others in */
        mem_free(d->path);
        return mem_free(d);
}

const struct node_identity *datadir_identity(const struct datadir *d) {
        return &d->node.identity;
}

const char *datadir_path(const struct datadir *d) {
        return d->path;
}

const uint64_t *datadir_shards(const struct datadir *d, size_t *ret_n) {
        *ret_n = d->node.n_shards;
        return d->node.shards;
}

bool datadir_has_shard(const struct datadir *d, uint64_t shard) {
        for (size_t i = 0; i < d->node.n_shards; i++) {
                if (d->node.shards[i] == shard)
                        return true;
        }

        return false;
}

int datadir_create_shard(struct datadir *d, uint64_t shard) {
        _cleanup_(mem_freep) char *incoming = path_in(d, "incoming");
        _cleanup_(mem_freep) char *from = NULL;
        _cleanup_(mem_freep) char *to = datadir_shard_path(d, shard);
        _cleanup_(mem_freep) struct node *next = NULL;
        size_t i;
        int r;

        if (datadir_has_shard(d, shard))
                return -EEXIST;
        if (d->node.n_shards >= SHARDS_MAX)
                return -EMFILE;

        from = mem_asprintf("%s/incoming/" SHARD_PREFIX "%" PRIu64, d->path, shard);
        next = mem_dup(&d->node, sizeof(d->node));
        if (!incoming || !from || !to || !next)
                return -ENOMEM;

        /* An attempt before this one may have failed half-way. */
        r = remove_tree(d->io, from);
        if (r >= 0)
                r = remove_tree(d->io, to);
        if (r >= 0)
                r = io_mkdir(d->io, from);
        if (r >= 0)
                r = shard_log_create(d->io, from, shard);
        if (r >= 0)
                r = io_sync_dir(d->io, incoming);
        if (r >= 0)
                r = io_rename(d->io, from, to);
        if (r >= 0)
                r = io_sync_dir(d->io, d->path);
        if (r < 0)
                return r;

        /* I1 */
        for (i = next->n_shards; i > 0 && next->shards[i - 1] > shard; i--)
                next->shards[i] = next->shards[i - 1];
        next->shards[i] = shard;
        next->n_shards++;
        next->sequence++;
        r = node_write(d->file, next);
        if (r < 0)
                return r;

        d->node = *next;
        return 0;
}

char *datadir_shard_path(const struct datadir *d, uint64_t shard) {
        return datadir_path_of_shard(d->path, shard);
}

/* ---- Looking from outside ---- */

char *datadir_path_of_shard(const char *path, uint64_t shard) {
        return mem_asprintf("%s/" SHARD_PREFIX "%" PRIu64, path, shard);
}

/* The folders that look like shards. Return: 0; -ENOTDIR there is none; what the disk says. */
static int guess_shards(struct io *io, const char *path, struct datadir_info *ret) {
        char **names;
        size_t n;
        int r;

        r = io_list(io, path, &names, &n);
        if (r < 0)
                return r;

        ret->n_shards = 0;
        for (size_t i = 0; i < n; i++) {
                uint64_t shard;
                size_t k;

                if (!shard_name_parse(names[i], &shard) || ret->n_shards == DATADIR_SHARDS_MAX)
                        continue;
                for (k = ret->n_shards++; k > 0 && ret->shards[k - 1] > shard; k--)
                        ret->shards[k] = ret->shards[k - 1];
                ret->shards[k] = shard;
        }
        io_names_free(names, n);
        ret->is_guessed = true;
        return ret->n_shards > 0 ? 0 : -ENOTDIR;
}

int datadir_read(struct io *io, const char *path, struct datadir_info *ret) {
        _cleanup_(mem_freep) char *file_path = NULL;
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) uint8_t *block = NULL;
        _cleanup_(mem_freep) struct node *node = NULL;
        struct io_stat st;
        uint64_t sequence = 0;
        int r;

        assert(io);
        assert(path);
        assert(ret);

        r = io_stat(io, path, &st);
        if (r < 0)
                return r;
        if (!st.is_dir)
                return -ENOTDIR;

        file_path = mem_asprintf("%s/node", path);
        block = mem_alloc(NODE_COPY_BYTES);
        node = new0(struct node, 1);
        if (!file_path || !block || !node)
                return -ENOMEM;

        *ret = (struct datadir_info){ .copies = { -EBADMSG, -EBADMSG } };
        r = io_open(io, file_path, IO_OPEN_READ, &file);
        if (r < 0 && r != -ENOENT)
                return r;

        for (unsigned i = 0; file && i < N_COPIES; i++) {
                ssize_t n = io_pread(file,
                                     block,
                                     NODE_COPY_BYTES,
                                     (uint64_t) i * NODE_COPY_BYTES,
                                     /* flags= */ 0);

                ret->copies[i] = n == NODE_COPY_BYTES ? node_decode(block, node) : -EBADMSG;
                if (ret->copies[i] == -EPROTONOSUPPORT)
                        return -EPROTONOSUPPORT;
                if (ret->copies[i] < 0 || node->sequence <= sequence)
                        continue;
                sequence = node->sequence;
                ret->identity = node->identity;
                ret->n_shards = node->n_shards;
                memcpy(ret->shards, node->shards, sizeof(ret->shards));
        }

        return sequence > 0 ? 0 : guess_shards(io, path, ret);
}

int datadir_make_node(struct io *io,
                      const char *path,
                      uint64_t node_id,
                      const uint64_t *shards,
                      size_t n_shards,
                      struct node_identity *ret) {
        _cleanup_(mem_freep) char *name = mem_asprintf("%s/node", path);
        _cleanup_(mem_freep) struct node *node = new0(struct node, 1);
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        int r;

        assert(node_id > 0);

        if (!name || !node)
                return -ENOMEM;
        if (n_shards > SHARDS_MAX)
                return -E2BIG;

        node->sequence = 1;
        node->identity.node_id = node_id;
        io_random(io, node->identity.cluster_id, sizeof(node->identity.cluster_id));
        io_random(io, node->identity.incarnation, sizeof(node->identity.incarnation));
        node->n_shards = n_shards;
        memcpy(node->shards, shards, n_shards * sizeof(shards[0]));

        r = io_open(io, name, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE, &file);
        if (r < 0)
                return r;
        r = node_write(file, node);
        if (r < 0)
                return r;
        r = io_sync_dir(io, path);
        if (r < 0)
                return r;

        if (ret)
                *ret = node->identity;
        return 0;
}
