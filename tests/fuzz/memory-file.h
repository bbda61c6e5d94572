/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A struct io with one file in memory, which can only be read: for fuzz targets of what reads
 * files. It is there under its name in any folder; whatever else is opened is not there.
 */

#include "base/alloc.h"
#include "io/io.h"

struct memory_io {
        struct io io;
        const char *name;
        const uint8_t *data;
        size_t n;
};

struct memory_file {
        struct io_file file;
        const struct memory_io *m;
};

static int memory_open(struct io *io, const char *path, unsigned flags, struct io_file **ret) {
        struct memory_io *m = CONTAINER_OF(io, struct memory_io, io);
        const char *name = strrchr(path, '/');
        struct memory_file *f;

        if (flags & (IO_OPEN_WRITE | IO_OPEN_CREATE))
                return -EROFS;
        if (!name || !streq(name + 1, m->name))
                return -ENOENT;

        f = new0(struct memory_file, 1);
        if (!f)
                return -ENOMEM;
        f->m = m;
        *ret = &f->file;
        return 0;
}

static void memory_close(struct io_file *file) {
        mem_free(CONTAINER_OF(file, struct memory_file, file));
}

static ssize_t
memory_pread(struct io_file *file, void *p, size_t n, uint64_t pos, _unused_ unsigned flags) {
        const struct memory_io *m = CONTAINER_OF(file, struct memory_file, file)->m;

        if (pos >= m->n)
                return 0;
        n = MIN(n, m->n - (size_t) pos);
        if (n > 0)
                memcpy(p, m->data + pos, n);
        return (ssize_t) n;
}

static int memory_size(struct io_file *file, uint64_t *ret) {
        *ret = CONTAINER_OF(file, struct memory_file, file)->m->n;
        return 0;
}

static int memory_list(struct io *io, _unused_ const char *path, char ***ret_names, size_t *ret_n) {
        const struct memory_io *m = CONTAINER_OF(io, struct memory_io, io);
        char **names = new0(char *, 1);
        char *name = mem_strdup(m->name);

        if (!names || !name) {
                mem_free(names);
                mem_free(name);
                return -ENOMEM;
        }
        names[0] = name;
        *ret_names = names;
        *ret_n = 1;
        return 0;
}

/* Whatever is asked for is the folder. */
static int memory_stat(_unused_ struct io *io, _unused_ const char *path, struct io_stat *ret) {
        *ret = (struct io_stat){ .n_links = 1, .is_dir = true };
        return 0;
}

static const struct io_ops memory_ops = {
        .open = memory_open,
        .close = memory_close,
        .pread = memory_pread,
        .size = memory_size,
        .stat = memory_stat,
        .list = memory_list,
};

/* Borrows @name and @data for as long as it is used. */
static inline _unused_ struct memory_io memory_io(const char *name, const uint8_t *data, size_t n) {
        return (struct memory_io){ .io.ops = &memory_ops, .name = name, .data = data, .n = n };
}
