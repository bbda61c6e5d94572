/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What may be injected where
 *
 *   kill          open files and locks end. What was written stays readable and stays unsynced;
 *                 what was done to folders likewise.
 *   power cut     Of each file, sector by sector (512 bytes): as it is on disk, or as one of the
 *                 unsynced writes left it, but no later state without what came before it in that
 *                 sector, and never mixed. A write is taken whole, left out, or torn: by single
 *                 sectors, or its front, or its back. Sizes: as on disk, or as any unsynced change
 *                 left it, apart from the data (space that a size gained without data is zero). Of
 *                 each folder: what was done up to some point in order, nothing behind it; a
 *                 rename, between two folders too, is done or not done.
 *   crash_at      Before, after, or (writes) in the middle of one changing operation; then one of
 *   the two above. EIO of a sync Of what was unsynced any sectors reach the disk. The rest is clean
 *                 from then on: no later sync brings it to disk; cached reads see it until a power
 *                 cut, reads past the cache do not.
 *   EIO of a write  Any front of it is written, in whole sectors.
 *   EIO of a read   By chance, by order, or of a broken range (reads from the disk: IO_OPEN_DIRECT,
 *                 or any read after a restart).
 *   ENOSPC        Writes and truncations past the capacity (what fits of a write is written first:
 *                 a short write), and new names when nothing at all is free.
 *   short writes  A front is written, in whole sectors; all of it where there is not one.
 *   flipped bits  Anywhere, at any time, by order; on disk and in the page cache at once.
 *   any error     By order (sim_disk_fail()), of any operation but unlink's and rename's
 *   durability.
 *
 * What is never done: a sync that says 0 is a sync; what it covered is not lost, but for flipped
 * bits and broken ranges. Data of a file and its name are synced apart: a synced file without a
 * synced name is lost whole.
 *
 * Invariants
 *  I1  durable of a file with all that is unsynced of it on top is what the disk itself would give;
 *      cached is the same but for sectors that a failed sync forgot.
 *  I2  The durable names of a folder with the unsynced acts on top, in order, are its cached names.
 *  I3  Choices are made in the order of inode numbers and acts; addresses decide nothing.
 */

#include "tests/sim/disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/heap.h"
#include "base/list.h"
#include "tests/sim/image.h"

#define MILLION 1000000u
#define UNLIMITED_BYTES (UINT64_C(1) << 40)
/* A file past this is a bug of who writes it. */
#define FILE_BYTES_MAX (UINT64_C(1) << 36)
/* 2026-01-01: alone, the wall clock begins here. */
#define WALL_MS_FIRST INT64_C(1767225600000)

/* A write or a change of size that is not synced. */
struct change {
        struct list link;
        bool is_truncate;
        uint64_t pos; /* is_truncate: the size */
        size_t n;
        uint64_t size_before, size_after;
        uint8_t *data; /* NULL: zeroes */
};

struct dirent {
        char *name;
        struct inode *inode; /* holds a reference */
};

/* Sorted by name. */
struct directory {
        struct dirent *entries;
        size_t n_entries;
        size_t n_allocated;
};

struct inode {
        struct list link; /* in the disk's inodes, by number */
        struct sim_disk *disk;
        uint64_t number;
        unsigned n_refs; /* by names durable and cached, acts, open files */
        bool is_dir;
        unsigned n_links; /* cached names */

        struct image durable, cached;
        struct list changes; /* oldest first */
        struct sim_file *lock_holder;
        uint64_t broken_pos, broken_bytes;

        struct directory durable_names, cached_names;

        struct inode *clone; /* while the disk is cloned */
        bool is_marked;      /* while acts are chosen: nothing more, or all before */
};

/* Something done to one folder, or two, that is not synced. */
struct act {
        struct list link;
        struct inode *from; /* the name is removed here; NULL: it is new */
        char *from_name;
        struct inode *to; /* and target is put here; NULL: unlinked */
        char *to_name;
        struct inode *target;
        bool is_marked; /* while a folder is synced */
};

struct sim_file {
        struct io_file file;
        struct list link; /* in the disk's open files; not linked once the owner is dead */
        struct sim_io *sio;
        struct inode *inode; /* NULL: the owner is dead */
        unsigned flags;
        char *path;
};

struct rule {
        struct list link;
        unsigned ops;
        char *path_part; /* or NULL */
        uint64_t n_left; /* 1: the next one */
        int error;
};

struct sim_disk {
        struct sim_io sio; /* the disk alone */
        struct random random;
        struct sim_trace *trace;
        char *name;

        struct inode *root;
        struct list inodes;
        uint64_t next_inode;
        struct list acts; /* oldest first */
        struct list files;
        uint64_t used_bytes; /* pages of all sizes */

        bool is_down; /* crashed, killed or cut, and not restarted */
        bool has_crashed;
        uint64_t crash_in; /* 1: the next changing operation of the kind; 0: not */
        unsigned crash_ops;
        char *crash_path_part; /* or NULL */
        uint64_t n_ops, n_syncs;

        uint64_t capacity_bytes;
        struct sim_disk_faults faults;
        struct list rules;

        /* Alone. */
        usec_t now_usec;
        int64_t wall_ms;
        struct list jobs;
        struct heap timers;
};

static struct sim_disk *disk_of(struct io *io) {
        return CONTAINER_OF(io, struct sim_io, io)->disk;
}

/* Memory of the simulator's own, see image.h. */
static char *must_strdup(const char *s) {
        return must(strdup(s));
}

/* ---- Names ---- */

static size_t directory_place(const struct directory *d, const char *name, bool *ret_found) {
        size_t low = 0, high = d->n_entries;

        while (low < high) {
                size_t middle = (low + high) / 2;
                int c = strcmp(d->entries[middle].name, name);

                if (c == 0) {
                        *ret_found = true;
                        return middle;
                }
                if (c < 0)
                        low = middle + 1;
                else
                        high = middle;
        }

        *ret_found = false;
        return low;
}

static struct inode *directory_find(const struct directory *d, const char *name) {
        bool found;
        size_t at = directory_place(d, name, &found);

        return found ? d->entries[at].inode : NULL;
}

static struct inode *inode_unref(struct inode *i);

static void directory_remove(struct directory *d, const char *name) {
        bool found;
        size_t at = directory_place(d, name, &found);
        struct dirent gone;

        if (!found)
                return;

        gone = d->entries[at];
        memmove(d->entries + at, d->entries + at + 1, (d->n_entries - at - 1) * sizeof(gone));
        d->n_entries--;
        free(gone.name);
        inode_unref(gone.inode);
}

static void directory_put(struct directory *d, const char *name, struct inode *inode) {
        bool found;
        size_t at;

        inode->n_refs++;
        directory_remove(d, name);
        at = directory_place(d, name, &found);

        if (d->n_entries == d->n_allocated) {
                d->n_allocated = MAX(d->n_allocated * 2, (size_t) 8);
                d->entries = must(realloc(d->entries, d->n_allocated * sizeof(*d->entries)));
        }
        memmove(d->entries + at + 1, d->entries + at, (d->n_entries - at) * sizeof(*d->entries));
        d->entries[at] = (struct dirent){ .name = must_strdup(name), .inode = inode };
        d->n_entries++;
}

static void directory_done(struct directory *d) {
        for (size_t i = 0; i < d->n_entries; i++) {
                free(d->entries[i].name);
                inode_unref(d->entries[i].inode);
        }
        free(d->entries);
        *d = (struct directory){};
}

static void directory_copy(struct directory *to, const struct directory *from) {
        struct directory copy = {};

        for (size_t i = 0; i < from->n_entries; i++)
                directory_put(&copy, from->entries[i].name, from->entries[i].inode);
        directory_done(to);
        *to = copy;
}

/* ---- Inodes ---- */

static uint64_t round_to_pages(uint64_t size) {
        return (size + IMAGE_PAGE_BYTES - 1) / IMAGE_PAGE_BYTES * IMAGE_PAGE_BYTES;
}

static struct inode *inode_new(struct sim_disk *d, bool is_dir) {
        struct inode *i = must(calloc(1, sizeof(*i)));

        i->disk = d;
        i->number = ++d->next_inode;
        i->n_refs = 1;
        i->is_dir = is_dir;
        list_init(&i->changes);
        list_append(&d->inodes, &i->link);
        return i;
}

static void change_free(struct change *c) {
        list_remove(&c->link);
        free(c->data);
        free(c);
}

static void inode_forget_changes(struct inode *i) {
        LIST_FOREACH(&i->changes, c, struct change, link)
                change_free(c);
}

static struct inode *inode_unref(struct inode *i) {
        if (!i || --i->n_refs > 0)
                return NULL;

        i->disk->used_bytes -= round_to_pages(i->cached.size);
        inode_forget_changes(i);
        image_done(&i->durable);
        image_done(&i->cached);
        directory_done(&i->durable_names);
        directory_done(&i->cached_names);
        list_remove(&i->link);
        free(i);
        return NULL;
}

static void inode_resize(struct inode *i, uint64_t size) {
        i->disk->used_bytes += round_to_pages(size);
        i->disk->used_bytes -= round_to_pages(i->cached.size);
        image_resize(&i->cached, size);
}

static void
inode_add_change(struct inode *i, bool is_truncate, const uint8_t *p, size_t n, uint64_t pos) {
        struct change *c = must(calloc(1, sizeof(*c)));
        bool zero = true;

        c->is_truncate = is_truncate;
        c->pos = pos;
        c->n = n;
        c->size_before = i->cached.size;
        c->size_after = is_truncate ? pos : MAX(i->cached.size, pos + n);
        if (n > 0)
                zero = p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
        if (!zero) {
                c->data = must(malloc(n));
                memcpy(c->data, p, n);
        }
        list_append(&i->changes, &c->link);

        inode_resize(i, c->size_after);
        if (!is_truncate)
                image_put(&i->cached, c->data, n, pos);
}

static void image_apply(struct image *image, const struct change *c) {
        if (c->is_truncate) {
                image_resize(image, c->pos);
                return;
        }
        image_put(image, c->data, c->n, c->pos);
        image->size = MAX(image->size, c->pos + c->n);
}

/* I1: durable and what is unsynced on top of it. */
static size_t inode_get_from_disk(const struct inode *i, uint8_t *p, size_t n, uint64_t pos) {
        struct image view = {};

        if (list_is_empty(&i->changes))
                return image_get(&i->durable, p, n, pos);

        image_copy(&view, &i->durable);
        LIST_FOREACH(&i->changes, c, struct change, link)
                image_apply(&view, c);
        n = image_get(&view, p, n, pos);
        image_done(&view);
        return n;
}

static void inode_sync(struct inode *i) {
        LIST_FOREACH(&i->changes, c, struct change, link) {
                image_apply(&i->durable, c);
                change_free(c);
        }
}

/*
 * Decides what of the unsynced changes is on disk, and forgets them. A sector that has left out a
 * change takes none after it: its bits in @stopped.
 */
static void inode_settle(struct inode *i, struct random *random) {
        struct image *durable = &i->durable;
        uint64_t end = MAX(durable->size, i->cached.size), n_sectors;
        bool *stopped, size_stopped = false;

        LIST_FOREACH(&i->changes, c, struct change, link)
                end = MAX(end, MAX(c->pos + c->n, c->size_after));
        n_sectors = end / IO_SECTOR_BYTES + 1;
        stopped = must(calloc(n_sectors, sizeof(*stopped)));

        LIST_FOREACH(&i->changes, c, struct change, link) {
                enum {
                        WHOLE,
                        NONE,
                        SECTORS,
                        FRONT,
                        BACK,
                        _MODE_MAX
                } mode = random_below(random, _MODE_MAX);
                unsigned keep_of_8 = (unsigned) random_between(random, 1, 7);
                uint64_t first = c->pos / IO_SECTOR_BYTES,
                         last = (c->pos + c->n - 1) / IO_SECTOR_BYTES, cut;

                if (c->size_after != c->size_before || c->is_truncate) {
                        size_stopped = size_stopped || random_chance(random, 1, 2);
                        if (!size_stopped && c->is_truncate)
                                image_resize(durable, c->size_after);
                        else if (!size_stopped)
                                durable->size = MAX(durable->size, c->size_after);
                }
                if (c->n == 0)
                        continue;

                cut = random_between(random, first, last);
                for (uint64_t s = first; s <= last; s++) {
                        uint64_t from = MAX(c->pos, s * IO_SECTOR_BYTES);
                        uint64_t to = MIN(c->pos + c->n, (s + 1) * IO_SECTOR_BYTES);
                        bool keep = mode == WHOLE || (mode == FRONT && s < cut) ||
                                    (mode == BACK && s >= cut);

                        if (mode == SECTORS)
                                keep = random_chance(random, keep_of_8, 8);
                        if (!keep)
                                stopped[s] = true;
                        if (!stopped[s])
                                image_put(durable,
                                          c->data ? c->data + (from - c->pos) : NULL,
                                          to - from,
                                          from);
                }
        }

        /* Data behind the size that the disk has is not part of the file. */
        image_cut(durable);

        free(stopped);
        inode_forget_changes(i);
}

/* ---- Acts on folders ---- */

static void act_free(struct act *a) {
        list_remove(&a->link);
        free(a->from_name);
        free(a->to_name);
        inode_unref(a->from);
        inode_unref(a->to);
        inode_unref(a->target);
        free(a);
}

static struct inode *inode_ref_maybe(struct inode *i) {
        if (i)
                i->n_refs++;
        return i;
}

static struct act *act_append(struct sim_disk *d,
                              struct inode *from,
                              const char *from_name,
                              struct inode *to,
                              const char *to_name,
                              struct inode *target) {
        struct act *a = must(calloc(1, sizeof(*a)));

        a->from = inode_ref_maybe(from);
        a->from_name = from ? must_strdup(from_name) : NULL;
        a->to = inode_ref_maybe(to);
        a->to_name = to ? must_strdup(to_name) : NULL;
        a->target = inode_ref_maybe(target);
        list_append(&d->acts, &a->link);
        return a;
}

static void act_make_durable(struct act *a) {
        if (a->from)
                directory_remove(&a->from->durable_names, a->from_name);
        if (a->to)
                directory_put(&a->to->durable_names, a->to_name, a->target);
        act_free(a);
}

/* Carries an act out in the cached names, and notes it. */
static void act_do(struct sim_disk *d,
                   struct inode *from,
                   const char *from_name,
                   struct inode *to,
                   const char *to_name,
                   struct inode *target) {
        struct inode *replaced = to ? directory_find(&to->cached_names, to_name) : NULL;

        (void) act_append(
                d, from, from_name, to, to_name, target); /* holds target while its names change */
        if (replaced)
                replaced->n_links--;
        if (from) {
                directory_remove(&from->cached_names, from_name);
                target->n_links--;
        }
        if (to) {
                directory_put(&to->cached_names, to_name, target);
                target->n_links++;
        }
}

static bool act_touches_marked(const struct act *a) {
        return (a->from && a->from->is_marked) || (a->to && a->to->is_marked);
}

static void act_mark_folders(struct act *a) {
        if (a->from)
                a->from->is_marked = true;
        if (a->to)
                a->to->is_marked = true;
}

static void unmark_all(struct sim_disk *d) {
        LIST_FOREACH(&d->inodes, i, struct inode, link)
                i->is_marked = false;
}

/* What was done to @dir, and before that to a folder that something was moved from or to, and so on
 * back. */
static void sync_folder(struct sim_disk *d, struct inode *dir) {
        unmark_all(d);
        dir->is_marked = true;

        for (struct list *l = d->acts.prev; l != &d->acts; l = l->prev) {
                struct act *a = list_entry(l, struct act, link);

                a->is_marked = act_touches_marked(a);
                if (a->is_marked)
                        act_mark_folders(a);
        }

        LIST_FOREACH(&d->acts, a, struct act, link)
                if (a->is_marked)
                        act_make_durable(a);
}

static void settle_folders(struct sim_disk *d) {
        unmark_all(d);

        LIST_FOREACH(&d->acts, a, struct act, link) {
                if (!act_touches_marked(a) && random_chance(&d->random, 2, 3)) {
                        act_make_durable(a);
                        continue;
                }
                act_mark_folders(a);
                act_free(a);
        }
}

static void count_links(struct inode *dir) {
        for (size_t i = 0; i < dir->cached_names.n_entries; i++) {
                struct inode *child = dir->cached_names.entries[i].inode;

                child->n_links++;
                if (child->is_dir)
                        count_links(child);
        }
}

/* ---- Paths ---- */

/* The folder that holds the last component of @path, and that component. Return: 0; -ENOENT,
 * -ENOTDIR, -ENAMETOOLONG. */
static int find_parent(struct sim_disk *d,
                       const char *path,
                       struct inode **ret_dir,
                       char ret_name[static 256]) {
        struct inode *dir = d->root;
        char name[256] = "";

        for (;;) {
                size_t n;

                path += strspn(path, "/");
                n = strcspn(path, "/");
                if (n >= sizeof(name))
                        return -ENAMETOOLONG;
                if (n == 0)
                        break;
                if (n == 1 && path[0] == '.') {
                        path += n;
                        continue;
                }

                if (name[0]) {
                        dir = directory_find(&dir->cached_names, name);
                        if (!dir)
                                return -ENOENT;
                        if (!dir->is_dir)
                                return -ENOTDIR;
                }
                memcpy(name, path, n);
                name[n] = 0;
                path += n;
        }

        *ret_dir = dir;
        memcpy(ret_name, name, sizeof(name));
        return 0;
}

static int find(struct sim_disk *d, const char *path, struct inode **ret) {
        struct inode *dir, *i;
        char name[256];
        int r;

        r = find_parent(d, path, &dir, name);
        if (r < 0)
                return r;

        i = name[0] ? directory_find(&dir->cached_names, name) : dir;
        if (!i)
                return -ENOENT;

        *ret = i;
        return 0;
}

static int find_dir(struct sim_disk *d, const char *path, struct inode **ret) {
        struct inode *i;
        int r;

        r = find(d, path, &i);
        if (r < 0)
                return r;
        if (!i->is_dir)
                return -ENOTDIR;

        *ret = i;
        return 0;
}

/* ---- Faults ---- */

/* Whether an operation fails by order. Return: 0, or the error. Counts down all rules it meets; the
 * oldest fires. */
static int
check_rules(struct sim_disk *d, enum sim_disk_op op, const char *path, const char *other_path) {
        int error = 0;

        LIST_FOREACH(&d->rules, rule, struct rule, link) {
                if (!(rule->ops & op))
                        continue;
                if (rule->path_part && !strstr(path, rule->path_part) &&
                    !(other_path && strstr(other_path, rule->path_part)))
                        continue;
                if (rule->n_left > 1) {
                        rule->n_left--;
                        continue;
                }
                if (error == 0) {
                        error = -rule->error;
                        list_remove(&rule->link);
                        free(rule->path_part);
                        free(rule);
                }
        }

        return error;
}

static int check_alive(const struct sim_io *sio) {
        return sio->is_dead || sio->disk->is_down ? -ECANCELED : 0;
}

/* Begins a changing operation. Return: 0; 1 the disk crashes in it: the caller does it or a part of
 * it and returns -ECANCELED; an error. */
static int
begin_change(struct sim_io *sio, enum sim_disk_op op, const char *path, const char *other_path) {
        struct sim_disk *d = sio->disk;
        int r;

        r = check_alive(sio);
        if (r < 0)
                return r;
        r = check_rules(d, op, path, other_path);
        if (r < 0 && op != SIM_DISK_WRITE && op != SIM_DISK_SYNC) {
                sim_trace(d->trace, "%s: fault %d of operation %d on %s", d->name, r, op, path);
                return r;
        }

        d->n_ops++;
        if (d->crash_in > 0 && (op & d->crash_ops) &&
            (!d->crash_path_part || strstr(path, d->crash_path_part)) && --d->crash_in == 0) {
                sim_trace(d->trace, "%s: crash in operation %d on %s", d->name, op, path);
                d->is_down = true;
                d->has_crashed = true;
                return 1;
        }

        return r;
}

static bool by_chance(struct sim_disk *d, unsigned per_million) {
        return per_million > 0 && random_chance(&d->random, per_million, MILLION);
}

static uint64_t free_bytes(const struct sim_disk *d) {
        uint64_t capacity = d->capacity_bytes ?: UNLIMITED_BYTES;

        return capacity > d->used_bytes ? capacity - d->used_bytes : 0;
}

/* ---- The file operations ---- */

static struct sim_file *file_of(struct io_file *f) {
        return CONTAINER_OF(f, struct sim_file, file);
}

static int file_alive(const struct sim_file *f) {
        return f->inode ? check_alive(f->sio) : -ECANCELED;
}

static int disk_open(struct io *io, const char *path, unsigned flags, struct io_file **ret) {
        struct sim_io *sio = CONTAINER_OF(io, struct sim_io, io);
        struct sim_disk *d = sio->disk;
        struct inode *dir, *inode;
        struct sim_file *f;
        bool crash = false;
        char name[256];
        int r;

        if (flags & IO_OPEN_CREATE) {
                r = begin_change(sio, SIM_DISK_OPEN, path, NULL);
                if (r > 0) {
                        crash = true;
                        if (random_chance(&d->random, 1, 2))
                                return -ECANCELED;
                }
        } else
                r = check_alive(sio) ?: check_rules(d, SIM_DISK_OPEN, path, NULL);
        if (r < 0)
                return r;

        r = find_parent(d, path, &dir, name);
        if (r < 0)
                return r;

        inode = name[0] ? directory_find(&dir->cached_names, name) : dir;
        if (inode && inode->is_dir)
                return -EISDIR;
        if (inode && (flags & IO_OPEN_CREATE))
                return -EEXIST;
        if (!inode && !(flags & IO_OPEN_CREATE))
                return -ENOENT;

        if (!inode) {
                if (free_bytes(d) < IMAGE_PAGE_BYTES)
                        return -ENOSPC;
                inode = inode_new(d, /* is_dir= */ false);
                act_do(d, NULL, NULL, dir, name, inode);
                inode->n_refs--; /* its name holds it now */
                sim_trace(d->trace, "%s: create %s", d->name, path);
        }
        if (crash)
                return -ECANCELED;

        f = must(calloc(1, sizeof(*f)));
        f->sio = sio;
        f->inode = inode_ref_maybe(inode);
        f->flags = flags;
        f->path = must_strdup(path);
        list_append(&d->files, &f->link);

        *ret = &f->file;
        return 0;
}

/* The file's owner has it no more. */
static void file_detach(struct sim_file *f) {
        if (!f->inode)
                return;
        if (f->inode->lock_holder == f)
                f->inode->lock_holder = NULL;
        list_remove(&f->link);
        f->inode = inode_unref(f->inode);
}

static void disk_close(struct io_file *file) {
        struct sim_file *f = file_of(file);

        file_detach(f);
        free(f->path);
        free(f);
}

static bool touches(uint64_t a_pos, uint64_t a_n, uint64_t b_pos, uint64_t b_n) {
        return a_pos < b_pos + b_n && b_pos < a_pos + a_n;
}

static ssize_t disk_pread(struct io_file *file, void *p, size_t n, uint64_t pos, unsigned flags) {
        struct sim_file *f = file_of(file);
        struct sim_disk *d = f->sio->disk;
        ssize_t r;

        r = file_alive(f);
        if (r < 0)
                return r;
        if (!(f->flags & IO_OPEN_READ))
                return -EBADF;
        if ((flags & IO_READ_NOWAIT) && by_chance(d, d->faults.read_again))
                return -EAGAIN;

        r = check_rules(d, SIM_DISK_READ, f->path, NULL);
        if (r == 0 && touches(f->inode->broken_pos, f->inode->broken_bytes, pos, n))
                r = -EIO;
        if (r == 0 && by_chance(d, d->faults.read_eio))
                r = -EIO;
        if (r < 0) {
                sim_trace(
                        d->trace, "%s: fault %zd reading %s at %" PRIu64, d->name, r, f->path, pos);
                return r;
        }

        if (!(f->flags & IO_OPEN_DIRECT))
                return (ssize_t) image_get(&f->inode->cached, p, n, pos);

        return (ssize_t) inode_get_from_disk(f->inode, p, n, pos);
}

/* A front of a write of @n bytes: it ends on a sector's boundary, since the kernel writes and
 * reports no less than that of a file system's block. */
static size_t front(struct sim_disk *d, size_t n, uint64_t pos) {
        uint64_t end = random_between(&d->random, pos, pos + n);

        if (end < pos + n)
                end -= end % IO_SECTOR_BYTES;
        return end > pos ? (size_t) (end - pos) : 0;
}

/* What of @n bytes at @pos there is space for. */
static size_t fits(const struct inode *i, size_t n, uint64_t pos) {
        uint64_t end = round_to_pages(i->cached.size) + free_bytes(i->disk);

        if (pos + n <= end)
                return n;
        return end > pos ? (size_t) (end - pos) : 0;
}

static ssize_t disk_pwrite(struct io_file *file, const void *p, size_t n, uint64_t pos) {
        struct sim_file *f = file_of(file);
        struct sim_disk *d = f->sio->disk;
        bool crash = false;
        size_t fit;
        int r;

        r = file_alive(f);
        if (r < 0)
                return r;
        if (!(f->flags & IO_OPEN_WRITE))
                return -EBADF;
        if (n == 0)
                return 0;
        if (pos > FILE_BYTES_MAX || n > FILE_BYTES_MAX - pos)
                return -EFBIG;

        r = begin_change(f->sio, SIM_DISK_WRITE, f->path, NULL);
        if (r > 0) {
                crash = true;
                if (!random_chance(&d->random, 1, 3))
                        n = front(d, n, pos);
        } else {
                if (r == 0 && by_chance(d, d->faults.write_eio))
                        r = -EIO;
                if (r < 0)
                        n = front(d, n, pos);
                else if (by_chance(d, d->faults.short_write))
                        n = front(d, n, pos) ?: n;
        }

        fit = fits(f->inode, n, pos);
        if (fit < n && r == 0 && fit == 0)
                r = -ENOSPC;
        n = fit;

        if (n > 0)
                inode_add_change(f->inode, /* is_truncate= */ false, p, n, pos);
        sim_trace(d->trace,
                  "%s: write %s %zu at %" PRIu64 " = %d, %016" PRIx64,
                  d->name,
                  f->path,
                  n,
                  pos,
                  r,
                  sim_hash(SIM_HASH_INIT, p, MIN(n, (size_t) 256)));
        if (crash)
                return -ECANCELED;
        return r < 0 ? r : (ssize_t) n;
}

static int disk_fdatasync(struct io_file *file) {
        struct sim_file *f = file_of(file);
        struct sim_disk *d = f->sio->disk;
        int r;

        r = file_alive(f);
        if (r < 0)
                return r;

        r = begin_change(f->sio, SIM_DISK_SYNC, f->path, NULL);
        if (r > 0) {
                if (random_chance(&d->random, 1, 2))
                        inode_sync(f->inode);
                return -ECANCELED;
        }
        if (r == 0 && by_chance(d, d->faults.sync_eio))
                r = -EIO;

        sim_trace(d->trace, "%s: sync %s = %d", d->name, f->path, r);
        if (r < 0) {
                /* Sizes are settled too: what the cache says may then be more than there is. */
                inode_settle(f->inode, &d->random);
                return r;
        }

        inode_sync(f->inode);
        d->n_syncs++;
        return 0;
}

static int disk_truncate(struct io_file *file, uint64_t size) {
        struct sim_file *f = file_of(file);
        struct sim_disk *d = f->sio->disk;
        int r;

        r = file_alive(f);
        if (r < 0)
                return r;
        if (!(f->flags & IO_OPEN_WRITE))
                return -EINVAL;
        if (size > FILE_BYTES_MAX)
                return -EFBIG;

        r = begin_change(f->sio, SIM_DISK_TRUNCATE, f->path, NULL);
        if (r < 0)
                return r;
        if (r > 0 && random_chance(&d->random, 1, 2))
                return -ECANCELED;

        sim_trace(d->trace, "%s: truncate %s to %" PRIu64, d->name, f->path, size);
        inode_add_change(f->inode, /* is_truncate= */ true, NULL, 0, size);
        return r > 0 ? -ECANCELED : 0;
}

static int disk_size(struct io_file *file, uint64_t *ret) {
        struct sim_file *f = file_of(file);
        int r;

        r = file_alive(f);
        if (r < 0)
                return r;

        *ret = f->inode->cached.size;
        return 0;
}

static int disk_lock(struct io_file *file) {
        struct sim_file *f = file_of(file);
        int r;

        r = file_alive(f);
        if (r < 0)
                return r;
        if (f->inode->lock_holder && f->inode->lock_holder != f)
                return -EBUSY;

        f->inode->lock_holder = f;
        return 0;
}

static int disk_stat(struct io *io, const char *path, struct io_stat *ret) {
        struct inode *i;
        int r;

        r = check_alive(CONTAINER_OF(io, struct sim_io, io)) ?: find(disk_of(io), path, &i);
        if (r < 0)
                return r;

        *ret = (struct io_stat){
                .size_bytes = i->cached.size,
                .n_links = i->is_dir ? 1 : i->n_links,
                .is_dir = i->is_dir,
        };
        return 0;
}

static int disk_rename(struct io *io, const char *from, const char *to) {
        struct sim_io *sio = CONTAINER_OF(io, struct sim_io, io);
        struct sim_disk *d = sio->disk;
        struct inode *from_dir, *to_dir, *target, *replaced;
        char from_name[256], to_name[256];
        int crash, r;

        crash = begin_change(sio, SIM_DISK_RENAME, from, to);
        if (crash < 0)
                return crash;
        if (crash && random_chance(&d->random, 1, 2))
                return -ECANCELED;

        r = find_parent(d, from, &from_dir, from_name) ?: find_parent(d, to, &to_dir, to_name);
        if (r < 0)
                return r;
        if (!from_name[0] || !to_name[0])
                return -EBUSY;

        target = directory_find(&from_dir->cached_names, from_name);
        if (!target)
                return -ENOENT;
        replaced = directory_find(&to_dir->cached_names, to_name);
        if (replaced == target)
                return crash ? -ECANCELED : 0;
        if (replaced && replaced->is_dir && !target->is_dir)
                return -EISDIR;
        if (replaced && !replaced->is_dir && target->is_dir)
                return -ENOTDIR;
        if (replaced && replaced->is_dir && replaced->cached_names.n_entries > 0)
                return -ENOTEMPTY;

        sim_trace(d->trace, "%s: rename %s %s", d->name, from, to);
        act_do(d, from_dir, from_name, to_dir, to_name, target);
        return crash ? -ECANCELED : 0;
}

static int disk_link(struct io *io, const char *from, const char *to) {
        struct sim_io *sio = CONTAINER_OF(io, struct sim_io, io);
        struct sim_disk *d = sio->disk;
        struct inode *target, *to_dir;
        char name[256];
        int crash, r;

        crash = begin_change(sio, SIM_DISK_LINK, from, to);
        if (crash < 0)
                return crash;
        if (crash && random_chance(&d->random, 1, 2))
                return -ECANCELED;

        r = find(d, from, &target) ?: find_parent(d, to, &to_dir, name);
        if (r < 0)
                return r;
        if (target->is_dir)
                return -EPERM;
        if (!name[0] || directory_find(&to_dir->cached_names, name))
                return -EEXIST;

        sim_trace(d->trace, "%s: link %s %s", d->name, from, to);
        act_do(d, NULL, NULL, to_dir, name, target);
        return crash ? -ECANCELED : 0;
}

static int remove_name(struct io *io, enum sim_disk_op op, const char *path, bool is_dir) {
        struct sim_io *sio = CONTAINER_OF(io, struct sim_io, io);
        struct sim_disk *d = sio->disk;
        struct inode *dir, *target;
        char name[256];
        int crash, r;

        crash = begin_change(sio, op, path, NULL);
        if (crash < 0)
                return crash;
        if (crash && random_chance(&d->random, 1, 2))
                return -ECANCELED;

        r = find_parent(d, path, &dir, name);
        if (r < 0)
                return r;
        if (!name[0])
                return -EBUSY;

        target = directory_find(&dir->cached_names, name);
        if (!target)
                return -ENOENT;
        if (target->is_dir != is_dir)
                return is_dir ? -ENOTDIR : -EISDIR;
        if (target->cached_names.n_entries > 0)
                return -ENOTEMPTY;

        sim_trace(d->trace, "%s: remove %s", d->name, path);
        act_do(d, dir, name, NULL, NULL, target);
        return crash ? -ECANCELED : 0;
}

static int disk_unlink(struct io *io, const char *path) {
        return remove_name(io, SIM_DISK_UNLINK, path, /* is_dir= */ false);
}

static int disk_rmdir(struct io *io, const char *path) {
        return remove_name(io, SIM_DISK_UNLINK, path, /* is_dir= */ true);
}

static int disk_mkdir(struct io *io, const char *path) {
        struct sim_io *sio = CONTAINER_OF(io, struct sim_io, io);
        struct sim_disk *d = sio->disk;
        struct inode *dir, *i;
        char name[256];
        int crash, r;

        crash = begin_change(sio, SIM_DISK_MKDIR, path, NULL);
        if (crash < 0)
                return crash;
        if (crash && random_chance(&d->random, 1, 2))
                return -ECANCELED;

        r = find_parent(d, path, &dir, name);
        if (r < 0)
                return r;
        if (!name[0] || directory_find(&dir->cached_names, name))
                return -EEXIST;
        if (free_bytes(d) < IMAGE_PAGE_BYTES)
                return -ENOSPC;

        sim_trace(d->trace, "%s: mkdir %s", d->name, path);
        i = inode_new(d, /* is_dir= */ true);
        act_do(d, NULL, NULL, dir, name, i);
        inode_unref(i);
        return crash ? -ECANCELED : 0;
}

static int copy_names(const struct directory *dir, char ***ret_names, size_t *ret_n) {
        char **names = new0(char *, MAX(dir->n_entries, (size_t) 1));

        if (!names)
                return -ENOMEM;
        for (size_t i = 0; i < dir->n_entries; i++) {
                names[i] = mem_strdup(dir->entries[i].name);
                if (!names[i]) {
                        io_names_free(names, i);
                        return -ENOMEM;
                }
        }

        *ret_names = names;
        *ret_n = dir->n_entries;
        return 0;
}

static int disk_list(struct io *io, const char *path, char ***ret_names, size_t *ret_n) {
        struct sim_io *sio = CONTAINER_OF(io, struct sim_io, io);
        struct inode *dir;
        int r;

        r = check_alive(sio) ?: check_rules(sio->disk, SIM_DISK_LIST, path, NULL);
        if (r < 0)
                return r;
        r = find_dir(sio->disk, path, &dir);
        if (r < 0)
                return r;

        return copy_names(&dir->cached_names, ret_names, ret_n);
}

static int disk_sync_dir(struct io *io, const char *path) {
        struct sim_io *sio = CONTAINER_OF(io, struct sim_io, io);
        struct sim_disk *d = sio->disk;
        struct inode *dir;
        int crash, r;

        crash = begin_change(sio, SIM_DISK_SYNC_DIR, path, NULL);
        if (crash < 0)
                return crash;
        if (crash && random_chance(&d->random, 1, 2))
                return -ECANCELED;

        r = find_dir(d, path, &dir);
        if (r < 0)
                return r;

        sim_trace(d->trace, "%s: sync folder %s", d->name, path);
        sync_folder(d, dir);
        return crash ? -ECANCELED : 0;
}

static int disk_space(struct io *io, const char *path, uint64_t *ret_free, uint64_t *ret_total) {
        struct sim_disk *d = disk_of(io);
        struct inode *i;
        int r;

        r = check_alive(CONTAINER_OF(io, struct sim_io, io)) ?: find(d, path, &i);
        if (r < 0)
                return r;

        *ret_free = free_bytes(d);
        *ret_total = d->capacity_bytes ?: UNLIMITED_BYTES;
        return 0;
}

#define FILE_OPS                                                                                   \
        .open = disk_open, .close = disk_close, .pread = disk_pread, .pwrite = disk_pwrite,        \
        .fdatasync = disk_fdatasync, .truncate = disk_truncate, .size = disk_size,                 \
        .lock = disk_lock, .stat = disk_stat, .rename = disk_rename, .link = disk_link,            \
        .unlink = disk_unlink, .mkdir = disk_mkdir, .rmdir = disk_rmdir, .list = disk_list,        \
        .sync_dir = disk_sync_dir, .space = disk_space

const struct io_ops sim_disk_file_ops = { FILE_OPS };

/* ---- Alone: time, chance, jobs, timers; no streams ---- */

static usec_t alone_now(struct io *io) {
        return disk_of(io)->now_usec;
}

static int64_t alone_wall_ms(struct io *io) {
        return disk_of(io)->wall_ms + (int64_t) (disk_of(io)->now_usec / USEC_PER_MSEC);
}

static void alone_random(struct io *io, void *p, size_t n) {
        random_bytes(&disk_of(io)->random, p, n);
}

static void alone_submit(struct io *io, enum io_lane lane, struct io_job *job) {
        (void) lane; /* one at a time in order is right for all */
        list_append(&disk_of(io)->jobs, &job->link);
}

static void alone_cancel(struct io *io, struct io_job *job) {
        (void) io;
        list_remove(&job->link);
}

static int alone_timer_set(struct io *io, struct io_timer *t, usec_t deadline_usec) {
        struct sim_disk *d = disk_of(io);

        heap_remove(&d->timers, &t->node);
        return heap_push(&d->timers, &t->node, deadline_usec);
}

static void alone_timer_cancel(struct io *io, struct io_timer *t) {
        heap_remove(&disk_of(io)->timers, &t->node);
}

static int alone_connect(struct io *io,
                         const struct address *a,
                         io_stream_handler_t handler,
                         void *userdata,
                         struct io_stream **ret) {
        (void) io, (void) a, (void) handler, (void) userdata, (void) ret;
        return -EOPNOTSUPP;
}

/* connect() never made a stream, so the operations on one are not called. */
static const struct io_ops alone_ops = {
        FILE_OPS,
        .now = alone_now,
        .wall_ms = alone_wall_ms,
        .random = alone_random,
        .submit = alone_submit,
        .cancel = alone_cancel,
        .timer_set = alone_timer_set,
        .timer_cancel = alone_timer_cancel,
        .connect = alone_connect,
};

/* ---- The disk ---- */

static struct sim_disk *disk_new_bare(uint64_t seed) {
        struct sim_disk *d = must(calloc(1, sizeof(*d)));

        d->sio = (struct sim_io){ .io.ops = &alone_ops, .disk = d };
        d->name = must_strdup("disk");
        d->wall_ms = WALL_MS_FIRST;
        random_init(&d->random, seed);
        list_init(&d->inodes);
        list_init(&d->acts);
        list_init(&d->files);
        list_init(&d->rules);
        list_init(&d->jobs);
        heap_init(&d->timers);
        return d;
}

int sim_disk_new(uint64_t seed, struct sim_disk **ret) {
        struct sim_disk *d = disk_new_bare(seed);

        d->root = inode_new(d, /* is_dir= */ true);
        *ret = d;
        return 0;
}

static void clone_names(struct directory *to, const struct directory *from) {
        for (size_t i = 0; i < from->n_entries; i++)
                directory_put(to, from->entries[i].name, from->entries[i].inode->clone);
}

int sim_disk_clone(const struct sim_disk *from, uint64_t seed, struct sim_disk **ret) {
        struct sim_disk *d = disk_new_bare(seed);

        d->next_inode = from->next_inode;
        d->capacity_bytes = from->capacity_bytes;
        d->used_bytes = from->used_bytes;
        d->now_usec = from->now_usec;
        d->wall_ms = from->wall_ms;

        LIST_FOREACH(&from->inodes, i, struct inode, link) {
                i->clone = inode_new(d, i->is_dir);
                i->clone->number = i->number;
                i->clone->n_links = i->n_links;
                i->clone->broken_pos = i->broken_pos;
                i->clone->broken_bytes = i->broken_bytes;
                image_copy(&i->clone->durable, &i->durable);
                image_copy(&i->clone->cached, &i->cached);
                LIST_FOREACH(&i->changes, c, struct change, link) {
                        struct change *copy = must(malloc(sizeof(*copy)));

                        *copy = *c;
                        if (c->data) {
                                copy->data = must(malloc(c->n));
                                memcpy(copy->data, c->data, c->n);
                        }
                        list_append(&i->clone->changes, &copy->link);
                }
        }
        d->next_inode = from->next_inode;
        d->root = from->root->clone;

        LIST_FOREACH(&from->inodes, i, struct inode, link) {
                clone_names(&i->clone->durable_names, &i->durable_names);
                clone_names(&i->clone->cached_names, &i->cached_names);
        }
        LIST_FOREACH(&from->acts, a, struct act, link)
                (void) act_append(d,
                                  a->from ? a->from->clone : NULL,
                                  a->from_name,
                                  a->to ? a->to->clone : NULL,
                                  a->to_name,
                                  a->target->clone);

        /* What only an open file held is not in the clone. */
        LIST_FOREACH(&from->inodes, i, struct inode, link)
                if (i != from->root)
                        inode_unref(i->clone);

        *ret = d;
        return 0;
}

struct sim_disk *sim_disk_free(struct sim_disk *d) {
        if (!d)
                return NULL;

        LIST_FOREACH(&d->files, f, struct sim_file, link)
                file_detach(f);
        LIST_FOREACH(&d->acts, a, struct act, link)
                act_free(a);
        (void) sim_disk_fail_clear(d);
        inode_unref(d->root);
        assert(list_is_empty(&d->inodes));
        heap_done(&d->timers);
        free(d->crash_path_part);
        free(d->name);
        free(d);
        return NULL;
}

void sim_disk_set_trace(struct sim_disk *d, struct sim_trace *t, const char *name) {
        free(d->name);
        d->name = must_strdup(name);
        d->trace = t;
}

struct io *sim_disk_io(struct sim_disk *d) {
        return &d->sio.io;
}

bool sim_disk_run_job(struct sim_disk *d) {
        struct io_job *job = d->is_down ? NULL : list_pop(&d->jobs, struct io_job, link);

        if (!job)
                return false;

        job->result = job->run(job);
        if (d->is_down) {
                /* It died in the middle: its owner cancels it, and never hears of it. */
                list_prepend(&d->jobs, &job->link);
                return false;
        }
        io_job_complete(job);
        return true;
}

unsigned sim_disk_run_jobs(struct sim_disk *d) {
        unsigned n = 0;

        while (sim_disk_run_job(d))
                n++;
        return n;
}

void sim_disk_advance(struct sim_disk *d, usec_t usec) {
        usec_t until = d->now_usec + usec;
        struct heap_node *n;

        while (!d->is_down && (n = heap_peek(&d->timers)) && n->priority <= until) {
                struct io_timer *t = CONTAINER_OF(n, struct io_timer, node);

                d->now_usec = MAX(d->now_usec, n->priority);
                heap_remove(&d->timers, n);
                t->on_timer(t, t->userdata);
        }
        d->now_usec = until;
}

void sim_disk_set_wall_ms(struct sim_disk *d, int64_t wall_ms) {
        d->wall_ms = wall_ms - (int64_t) (d->now_usec / USEC_PER_MSEC);
}

/* ---- Crashes ---- */

void sim_disk_kill(struct sim_disk *d) {
        sim_trace(d->trace, "%s: kill", d->name);
        d->is_down = true;
        LIST_FOREACH(&d->files, f, struct sim_file, link)
                file_detach(f);
}

void sim_disk_power_cut(struct sim_disk *d) {
        sim_disk_kill(d);
        sim_trace(d->trace, "%s: power cut", d->name);

        LIST_FOREACH(&d->inodes, i, struct inode, link)
                i->n_refs++; /* none goes while we walk */

        LIST_FOREACH(&d->inodes, i, struct inode, link) {
                inode_settle(i, &d->random);
                d->used_bytes += round_to_pages(i->durable.size);
                d->used_bytes -= round_to_pages(i->cached.size);
                image_copy(&i->cached, &i->durable);
        }
        settle_folders(d);
        LIST_FOREACH(&d->inodes, i, struct inode, link) {
                directory_copy(&i->cached_names, &i->durable_names);
                i->n_links = 0;
        }
        count_links(d->root);

        /* By going, a folder lets go of those inside, which may be the next: each is safe by its
         * own reference. */
        for (struct list *l = d->inodes.next, *next; l != &d->inodes; l = next) {
                struct inode *i = list_entry(l, struct inode, link);

                next = l->next;
                inode_unref(i);
        }
}

void sim_disk_restart(struct sim_disk *d) {
        assert(list_is_empty(&d->files)); /* kill or power cut came first */

        sim_trace(d->trace, "%s: restart", d->name);
        d->is_down = false;
        d->has_crashed = false;
        d->crash_in = 0;
}

void sim_disk_crash_at(struct sim_disk *d, uint64_t n) {
        sim_disk_crash_in(d, ~0u, NULL, n);
}

void sim_disk_crash_in(struct sim_disk *d, unsigned ops, const char *path_part, uint64_t n) {
        free(d->crash_path_part);
        d->crash_path_part = path_part ? must_strdup(path_part) : NULL;
        d->crash_ops = ops;
        d->crash_in = n;
}

bool sim_disk_will_crash(const struct sim_disk *d) {
        return d->crash_in > 0;
}

bool sim_disk_has_crashed(const struct sim_disk *d) {
        return d->has_crashed;
}

uint64_t sim_disk_n_ops(const struct sim_disk *d) {
        return d->n_ops;
}

uint64_t sim_disk_n_syncs(const struct sim_disk *d) {
        return d->n_syncs;
}

/* ---- Faults by order ---- */

void sim_disk_fail(struct sim_disk *d, unsigned ops, const char *path_part, uint64_t n, int error) {
        struct rule *rule = must(calloc(1, sizeof(*rule)));

        assert(n > 0);
        assert(error > 0);

        rule->ops = ops;
        rule->path_part = path_part ? must_strdup(path_part) : NULL;
        rule->n_left = n;
        rule->error = error;
        list_append(&d->rules, &rule->link);
}

unsigned sim_disk_fail_clear(struct sim_disk *d) {
        unsigned n = 0;

        LIST_FOREACH(&d->rules, rule, struct rule, link) {
                list_remove(&rule->link);
                free(rule->path_part);
                free(rule);
                n++;
        }
        return n;
}

void sim_disk_set_faults(struct sim_disk *d, const struct sim_disk_faults *f) {
        d->faults = *f;
}

void sim_disk_set_capacity(struct sim_disk *d, uint64_t capacity_bytes) {
        d->capacity_bytes = capacity_bytes;
}

uint64_t sim_disk_used_bytes(const struct sim_disk *d) {
        return d->used_bytes;
}

int sim_disk_flip_bit(struct sim_disk *d, const char *path, uint64_t pos, unsigned bit) {
        struct inode *i;
        int r;

        assert(bit < 8);

        r = find(d, path, &i);
        if (r < 0)
                return r;
        if (pos >= i->cached.size)
                return -EINVAL;

        sim_trace(d->trace, "%s: flip %s at %" PRIu64 " bit %u", d->name, path, pos, bit);
        image_flip(&i->durable, pos, bit);
        image_flip(&i->cached, pos, bit);
        LIST_FOREACH(&i->changes, c, struct change, link)
                if (c->data && pos >= c->pos && pos - c->pos < c->n)
                        c->data[pos - c->pos] ^= (uint8_t) (1u << bit);
        return 0;
}

int sim_disk_break_range(struct sim_disk *d, const char *path, uint64_t pos, uint64_t n) {
        struct inode *i;
        int r;

        r = find(d, path, &i);
        if (r < 0)
                return r;

        i->broken_pos = pos;
        i->broken_bytes = n;
        return 0;
}

/* ---- For checkers ---- */

ssize_t sim_disk_peek(struct sim_disk *d, const char *path, void *p, size_t n, uint64_t pos) {
        struct inode *i;
        int r;

        r = find(d, path, &i);
        if (r < 0)
                return r;

        return (ssize_t) inode_get_from_disk(i, p, n, pos);
}

ssize_t
sim_disk_peek_durable(struct sim_disk *d, const char *path, void *p, size_t n, uint64_t pos) {
        struct inode *i;
        int r;

        r = find(d, path, &i);
        if (r < 0)
                return r;

        return (ssize_t) image_get(&i->durable, p, n, pos);
}

int sim_disk_peek_size(struct sim_disk *d, const char *path, uint64_t *ret) {
        struct inode *i;
        int r;

        r = find(d, path, &i);
        if (r < 0)
                return r;

        *ret = i->cached.size;
        return 0;
}

int sim_disk_peek_list(struct sim_disk *d, const char *path, char ***ret_names, size_t *ret_n) {
        struct inode *dir;
        int r;

        r = find_dir(d, path, &dir);
        if (r < 0)
                return r;

        return copy_names(&dir->cached_names, ret_names, ret_n);
}
