/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Files, environment and command line to one configuration.
 *
 * I1: what goes wrong with one line is a note; the others are still read, so that one run tells
 *     all.
 */

#include "drmqd/config-load.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/ini.h"
#include "drmqd/config-names.h"
#include "proto/frame.h"

#define ENVIRONMENT_PREFIX "DRMQ_"

/* Notes */

void config_notes_done(struct config_notes *n) {
        assert(n);

        for (size_t i = 0; i < n->n; i++) {
                mem_free(n->notes[i].file);
                mem_free(n->notes[i].text);
        }
        mem_free(n->notes);
        *n = (struct config_notes){};
}

int config_notes_add(struct config_notes *n, int level, const char *file, const char *format, ...) {
        _cleanup_(mem_freep) char *text = NULL, *name = NULL;
        char line[1024];
        size_t *count;
        va_list ap;

        assert(n);

        count = level <= LOG_ERR ? &n->n_errors : &n->n_others;
        if ((*count)++ > CONFIG_NOTES_MAX)
                return 0;

        va_start(ap, format);
        (void) vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        if (*count > CONFIG_NOTES_MAX)
                (void) snprintf(line, sizeof(line), "There is more to say of the configuration");

        text = mem_strdup(line);
        name = file ? mem_strdup(file) : NULL;
        if (!text || (file && !name) || !grow(n->notes, n->n_allocated, n->n + 1))
                return -ENOMEM;

        n->notes[n->n++] = (struct config_note){ .level = level,
                                                 .file = TAKE_PTR(name),
                                                 .text = TAKE_PTR(text) };
        return 0;
}

/* One assignment */

/* @place: where it stands, as people read it. */
static int assign(struct config *c,
                  const struct config_key *k,
                  const char *value,
                  enum config_source source,
                  const char *place,
                  const char *file,
                  struct config_notes *notes) {
        _cleanup_(mem_freep) char *wanted = NULL;
        int r;

        r = config_assign(c, k, value, source, place);
        if (r >= 0 || r == -ENOMEM)
                return r;

        wanted = config_key_describe(k);
        if (!wanted)
                return -ENOMEM;
        return config_notes_add(notes,
                                LOG_ERR,
                                file,
                                "%s: \"%s\" is %s for %s: it takes %s (default %s)",
                                place,
                                value,
                                r == -ERANGE ? "out of range" : "malformed",
                                k->name,
                                wanted,
                                k->default_text);
}

/* Files */

struct file_reader {
        struct config *config;
        struct config_notes *notes;
        const char *name;
        bool skips; /* the section is unknown, which has been said */
};

static int read_section(struct file_reader *f, const struct ini_line *line) {
        _cleanup_(mem_freep) char *suggestion = NULL;

        f->skips = !config_section_is_known(line->section, strlen(line->section));
        if (!f->skips)
                return 0;

        suggestion = config_suggest_section(line->section);
        if (!suggestion)
                return -ENOMEM;
        return config_notes_add(f->notes,
                                LOG_WARNING,
                                f->name,
                                "%s:%u: Unknown section [%s], which is ignored%s",
                                f->name,
                                line->number,
                                line->section,
                                suggestion);
}

static int read_assignment(struct file_reader *f, const struct ini_line *line) {
        _cleanup_(mem_freep) char *name = NULL, *text = NULL;
        const struct config_key *k = NULL;

        if (line->section) {
                name = mem_asprintf("%s.%s", line->section, line->key);
                if (!name)
                        return -ENOMEM;
                k = config_key_find(name, strlen(name));
        }

        if (k) {
                text = mem_asprintf("%s:%u", f->name, line->number);
                return text ? assign(f->config,
                                     k,
                                     line->value,
                                     CONFIG_FILE,
                                     text,
                                     f->name,
                                     f->notes)
                            : -ENOMEM;
        }

        if (f->notes->n_others > CONFIG_NOTES_MAX)
                return 0;
        text = config_suggest(line->section, line->key);
        if (!text)
                return -ENOMEM;
        return config_notes_add(f->notes,
                                LOG_WARNING,
                                f->name,
                                "%s:%u: Unknown key \"%s\" %s%s%s, which is ignored%s",
                                f->name,
                                line->number,
                                line->key,
                                line->section ? "in [" : "outside of a section",
                                line->section ? line->section : "",
                                line->section ? "]" : "",
                                text);
}

static int on_line(void *userdata, const struct ini_line *line) {
        struct file_reader *f = userdata;

        switch (line->kind) {
        case INI_SECTION:
                return read_section(f, line);
        case INI_ASSIGNMENT:
                return f->skips ? 0 : read_assignment(f, line);
        case INI_MALFORMED:
        default:
                return config_notes_add(
                        f->notes, LOG_ERR, f->name, "%s:%u: %s", f->name, line->number, line->why);
        }
}

int config_read(struct config *c,
                const char *name,
                const char *text,
                size_t n,
                struct config_notes *notes) {
        struct file_reader f = { .config = c, .notes = notes, .name = name };

        assert(c);
        assert(name);
        assert(notes);

        return ini_parse(text, n, on_line, &f);
}

/* Return: 1 read; 0 it cannot be, which was noted; -ENOENT there is none; -ENOMEM. */
static int read_file(struct config *c, const char *path, struct config_notes *notes) {
        _cleanup_(mem_freep) char *text = NULL;
        struct stat st;
        size_t n;
        int r;

        /* Nothing may come out of it for ever, and a node that reloads would stand still. */
        if (stat(path, &st) >= 0 && S_ISFIFO(st.st_mode))
                return config_notes_add(
                        notes, LOG_ERR, path, "Cannot read %s: it is a pipe, not a file", path);

        r = fs_read_file(path, INI_BYTES_MAX, &text, &n);
        if (r == -ENOENT || r == -ENOMEM)
                return r;
        if (r < 0)
                return config_notes_add(
                        notes, LOG_ERR, path, "Cannot read %s: %s", path, strerrordesc_np(-r));

        r = config_read(c, path, text, n, notes);
        if (r >= 0)
                r = config_notes_add(notes, LOG_INFO, path, "Read configuration %s", path);
        return r < 0 ? r : 1;
}

/* Drop-ins: of one name the first that is found counts. */
struct dropins {
        struct dropin {
                char *name;
                char *path;
        } * files;
        size_t n;
        size_t n_allocated;
};

static void dropins_done(struct dropins *d) {
        for (size_t i = 0; i < d->n; i++) {
                mem_free(d->files[i].name);
                mem_free(d->files[i].path);
        }
        mem_free(d->files);
}

static bool is_dropin(const char *name) {
        size_t n = strlen(name);

        return n > strlen(".conf") && name[0] != '.' && streq(name + n - strlen(".conf"), ".conf");
}

static bool dropins_have(const struct dropins *d, const char *name) {
        for (size_t i = 0; i < d->n; i++)
                if (streq(d->files[i].name, name))
                        return true;
        return false;
}

static int dropins_add(struct dropins *d, const char *dir, const char *name) {
        _cleanup_(mem_freep) char *copy = NULL, *path = NULL;

        copy = mem_strdup(name);
        path = mem_asprintf("%s/%s", dir, name);
        if (!copy || !path || !grow(d->files, d->n_allocated, d->n + 1))
                return -ENOMEM;

        d->files[d->n++] = (struct dropin){ .name = TAKE_PTR(copy), .path = TAKE_PTR(path) };
        return 0;
}

/* The drop-ins of one folder, which may not exist. */
static int dropins_list(struct dropins *d, const char *dir, struct config_notes *notes) {
        struct dirent *e;
        int r = 0;
        DIR *s;

        s = opendir(dir);
        if (!s)
                return errno == ENOENT ? 0
                                       : config_notes_add(notes,
                                                          LOG_ERR,
                                                          dir,
                                                          "Cannot read %s: %s",
                                                          dir,
                                                          strerrordesc_np(errno));

        while (r >= 0 && (e = readdir(s)))
                if (is_dropin(e->d_name) && !dropins_have(d, e->d_name))
                        r = dropins_add(d, dir, e->d_name);
        (void) closedir(s);
        return r;
}

static int compare_dropins(const void *a, const void *b) {
        return strcmp(((const struct dropin *) a)->name, ((const struct dropin *) b)->name);
}

static int dropins_read(struct dropins *d, struct config *c, struct config_notes *notes) {
        if (d->n > 0)
                qsort(d->files, d->n, sizeof(d->files[0]), compare_dropins);

        for (size_t i = 0; i < d->n; i++) {
                int r = read_file(c, d->files[i].path, notes);

                if (r < 0 && r != -ENOENT) /* gone since it was listed */
                        return r;
        }
        return 0;
}

/* --config: FILE, which must exist, and FILE.d. */
static int load_file(struct config *c, const char *file, struct config_notes *notes) {
        _cleanup_(dropins_done) struct dropins d = {};
        _cleanup_(mem_freep) char *dir = NULL;
        int r;

        r = read_file(c, file, notes);
        if (r == -ENOENT)
                r = config_notes_add(
                        notes, LOG_ERR, file, "Cannot read %s: %s", file, strerrordesc_np(ENOENT));
        if (r < 0)
                return r;

        dir = mem_asprintf("%s.d", file);
        if (!dir)
                return -ENOMEM;
        r = dropins_list(&d, dir, notes);
        return r < 0 ? r : dropins_read(&d, c, notes);
}

/* NAME.conf of the first folder that has it, and the drop-ins of all. */
static int
load_by_name(struct config *c, const char *name, const char *path, struct config_notes *notes) {
        _cleanup_(dropins_done) struct dropins d = {};
        bool is_found = false;
        int r;

        for (const char *folder = path; *folder; folder += strspn(folder, ":")) {
                int n = (int) strcspn(folder, ":");
                _cleanup_(mem_freep) char *file = mem_asprintf("%.*s/%s.conf", n, folder, name);
                _cleanup_(mem_freep) char *dir = mem_asprintf("%.*s/%s.conf.d", n, folder, name);

                if (!file || !dir)
                        return -ENOMEM;

                r = is_found ? 0 : read_file(c, file, notes);
                if (r < 0 && r != -ENOENT)
                        return r;
                is_found = is_found || r >= 0;
                r = dropins_list(&d, dir, notes);
                if (r < 0)
                        return r;
                folder += n;
        }

        return dropins_read(&d, c, notes);
}

/* Environment and command line */

/* DRMQ_SECTION_KEY. */
static void environment_name(char *dest, size_t n_dest, const struct config_key *k) {
        size_t n = strlen(ENVIRONMENT_PREFIX);

        assert(n + strlen(k->name) < n_dest);
        memcpy(dest, ENVIRONMENT_PREFIX, n);
        for (const char *p = k->name; *p; p++)
                dest[n++] = *p >= 'a' && *p <= 'z' ? (char) (*p & ~0x20) : *p == '.' ? '_' : *p;
        dest[n] = 0;
}

/* The key of a variable "NAME=value", and where its value is; NULL: it is none's. */
static const struct config_key *environment_key(const char *variable, const char **ret_value) {
        const char *equals = strchr(variable, '=');
        char name[128];

        for (size_t i = 0; equals && i < config_n_keys; i++) {
                environment_name(name, sizeof(name), config_keys + i);
                if (strlen(name) == (size_t) (equals - variable) &&
                    memcmp(name, variable, strlen(name)) == 0) {
                        *ret_value = equals + 1;
                        return config_keys + i;
                }
        }
        return NULL;
}

/* A variable that looks like a key of ours: DRMQ_, a section, an underscore. Others are somebody
 * else's. */
static int check_foreign_variable(const char *variable, struct config_notes *notes) {
        _cleanup_(mem_freep) char *section = NULL, *key = NULL, *suggestion = NULL;
        const char *rest = variable + strlen(ENVIRONMENT_PREFIX);
        const char *underscore, *equals;

        if (strncmp(variable, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) != 0)
                return 0;
        underscore = strchr(rest, '_');
        equals = strchr(rest, '=');
        if (!underscore || !equals || underscore > equals)
                return 0;

        section = mem_strndup(rest, (size_t) (underscore - rest));
        key = mem_strndup(underscore + 1, (size_t) (equals - underscore - 1));
        if (!section || !key)
                return -ENOMEM;
        for (char *p = section; *p; p++)
                if (*p >= 'A' && *p <= 'Z')
                        *p = (char) (*p | 0x20);
        if (!config_section_is_known(section, strlen(section)))
                return 0;

        suggestion = config_suggest(section, key);
        if (!suggestion)
                return -ENOMEM;
        return config_notes_add(notes,
                                LOG_WARNING,
                                /* file= */ NULL,
                                "Unknown variable %.*s, which is ignored%s",
                                (int) (equals - variable),
                                variable,
                                suggestion);
}

static int
load_environment(struct config *c, char *const *environment, struct config_notes *notes) {
        for (; environment && *environment; environment++) {
                const struct config_key *k;
                char name[128];
                const char *value;
                int r;

                k = environment_key(*environment, &value);
                if (k) {
                        environment_name(name, sizeof(name), k);
                        r = assign(c, k, value, CONFIG_ENVIRONMENT, name, /* file= */ NULL, notes);
                } else
                        r = check_foreign_variable(*environment, notes);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int load_arguments(struct config *c,
                          const struct config_argument *arguments,
                          size_t n,
                          struct config_notes *notes) {
        for (size_t i = 0; i < n; i++) {
                const struct config_argument *a = arguments + i;
                int r;

                r = assign(c, a->key, a->value, CONFIG_COMMAND_LINE, a->option, NULL, notes);
                if (r < 0)
                        return r;
        }

        return 0;
}

/* The whole */

/* Names what says nothing of its name itself: "node" and its number. */
static int fill_name(struct config *c) {
        if (c->node_name)
                return 0;

        c->node_name = mem_asprintf("node%" PRIu64, c->broker.node_id == 0 ? 1 : c->broker.node_id);
        return c->node_name ? 0 : -ENOMEM;
}

/* The name by which a node's files are searched: what environment and command line make of it. New
 * string; NULL: no memory. */
static char *search_name(const struct config_sources *sources) {
        struct config_notes notes = {};
        struct config c;
        char *name = NULL;
        int r;

        config_init(&c);
        r = load_environment(&c, sources->environment, &notes);
        if (r >= 0)
                r = load_arguments(&c, sources->arguments, sources->n_arguments, &notes);
        if (r >= 0)
                r = fill_name(&c);
        if (r >= 0)
                name = TAKE_PTR(c.node_name);
        config_notes_done(&notes);
        config_done(&c);
        return name;
}

static int
load_all(const struct config_sources *sources, struct config *c, struct config_notes *notes) {
        _cleanup_(mem_freep) char *name = NULL;
        int r;

        if (sources->file)
                r = load_file(c, sources->file, notes);
        else {
                name = search_name(sources);
                r = name ? load_by_name(c,
                                        name,
                                        sources->path ? sources->path : CONFIG_PATH_DEFAULT,
                                        notes)
                         : -ENOMEM;
        }
        if (r >= 0)
                r = load_environment(c, sources->environment, notes);
        if (r >= 0)
                r = load_arguments(c, sources->arguments, sources->n_arguments, notes);
        if (r < 0)
                return r;

        if (!c->node_name)
                c->node_name = TAKE_PTR(name);
        r = fill_name(c);
        if (r < 0)
                return r;
        if (!c->data_dir)
                c->data_dir = mem_asprintf("/var/lib/drmq/%s", c->node_name);
        return c->data_dir ? config_check(c, notes) : -ENOMEM;
}

int config_load(const struct config_sources *sources,
                struct config *ret,
                struct config_notes *notes) {
        struct config c;
        int r;

        assert(sources);
        assert(ret);
        assert(notes);

        config_init(&c);
        r = load_all(sources, &c, notes);
        if (r >= 0 && notes->n_errors > 0)
                r = -EINVAL;
        if (r < 0) {
                config_done(&c);
                return r;
        }

        *ret = c;
        return 0;
}

/* What goes together */

static bool address_equals(const struct address *a, const struct address *b) {
        if (a->path || b->path)
                return a->path && b->path && streq(a->path, b->path);
        return a->port == b->port && a->port != 0 && streq(a->host, b->host);
}

static int check_addresses(const struct config *c, struct config_notes *notes) {
        struct address advertise;
        int r;

        for (size_t i = 0; i < c->n_listen; i++)
                for (size_t j = 0; j < i; j++)
                        if (address_equals(c->listen + i, c->listen + j)) {
                                r = config_notes_add(notes,
                                                     LOG_ERR,
                                                     NULL,
                                                     "node.listen has %s twice",
                                                     c->listen[i].path ? c->listen[i].path
                                                                       : c->listen[i].host);
                                if (r < 0)
                                        return r;
                        }

        if (!c->advertise)
                return 0;
        r = parse_address(c->advertise, DEFAULT_PORT, &advertise);
        if (r < 0)
                return r;
        r = advertise.path || advertise.port != 0
                    ? 0
                    : config_notes_add(notes,
                                       LOG_ERR,
                                       NULL,
                                       "node.advertise is %s: nobody can connect to port 0",
                                       c->advertise);
        address_done(&advertise);
        return r;
}

int config_check(const struct config *c, struct config_notes *notes) {
        int r;

        assert(c);
        assert(notes);

        r = check_addresses(c, notes);
        if (r < 0)
                return r;

        if (c->broker.request_budget_bytes < 2 * (uint64_t) REQUEST_BYTES_MAX)
                r = config_notes_add(
                        notes,
                        LOG_WARNING,
                        NULL,
                        "limits.request_bytes is less than two requests of the largest "
                        "size (16M each): while one comes in, nothing else does");
        if (r >= 0 && c->broker.fetch_budget_bytes < FRAME_BYTES_MAX)
                r = config_notes_add(notes,
                                     LOG_WARNING,
                                     NULL,
                                     "limits.fetch_bytes is less than one answer of the largest "
                                     "size (24M): readers of large messages wait for each other");
        if (r >= 0 && c->broker.checkpoint_bytes < c->broker.segment_bytes)
                r = config_notes_add(
                        notes,
                        LOG_WARNING,
                        NULL,
                        "log.checkpoint_size is less than log.segment_size: it writes "
                        "checkpoints more often than anything can be dropped for them");
        if (r >= 0 && c->broker.log_max_bytes > 0 &&
            c->broker.log_max_bytes < 4 * c->broker.segment_bytes)
                r = config_notes_add(
                        notes,
                        LOG_WARNING,
                        NULL,
                        "log.max_bytes is less than four times log.segment_size: whole "
                        "files go, and the one that is being written stays");
        if (r >= 0 && c->broker.log_max_bytes > 0 &&
            c->broker.log_max_bytes < c->broker.checkpoint_bytes)
                r = config_notes_add(notes,
                                     LOG_WARNING,
                                     NULL,
                                     "log.max_bytes is less than log.checkpoint_size: nothing goes "
                                     "that no checkpoint has");
        return r;
}

/* Reload */

static void swap(void *a, void *b, size_t n) {
        uint8_t *p = a, *q = b;

        for (size_t i = 0; i < n; i++) {
                uint8_t t = p[i];

                p[i] = q[i];
                q[i] = t;
        }
}

static void swap_value(struct config *a, struct config *b, const struct config_key *k) {
        size_t n = k->type == CONFIG_BOOL        ? sizeof(bool)
                   : k->type == CONFIG_ADDRESSES ? sizeof(a->listen)
                   : k->type >= CONFIG_NAME      ? sizeof(char *)
                                                 : sizeof(uint64_t);

        swap((char *) a + k->member, (char *) b + k->member, n);
        if (k->type == CONFIG_ADDRESSES)
                swap(&a->n_listen, &b->n_listen, sizeof(a->n_listen));
}

/* Texts of what is new; NULL where nothing is. */
struct changes {
        char *texts[CONFIG_KEYS_MAX];
};

static void changes_done(struct changes *c) {
        for (size_t i = 0; i < config_n_keys; i++)
                mem_free(c->texts[i]);
}

/* What nobody says may have been filled in meanwhile: it stays as it is. */
static bool stays_default(const struct config *c, const struct config *fresh, size_t i) {
        return c->origins[i].source == CONFIG_DEFAULT && fresh->origins[i].source == CONFIG_DEFAULT;
}

static int changes_find(struct changes *changes,
                        const struct config *c,
                        const struct config *fresh,
                        struct config_notes *notes) {
        for (size_t i = 0; i < config_n_keys; i++) {
                const struct config_key *k = config_keys + i;
                _cleanup_(mem_freep) char *before = config_format(c, k);
                _cleanup_(mem_freep) char *after = config_format(fresh, k);
                int r;

                if (!before || !after)
                        return -ENOMEM;
                if (streq(before, after) || stays_default(c, fresh, i))
                        continue;

                r = k->can_reload
                            ? config_notes_add(notes,
                                               LOG_INFO,
                                               NULL,
                                               "%s is %s now, not %s",
                                               k->name,
                                               after,
                                               before)
                            : config_notes_add(notes,
                                               LOG_WARNING,
                                               NULL,
                                               "%s stays %s until a restart: it is %s now (%s)",
                                               k->name,
                                               before,
                                               after,
                                               fresh->origins[i].where ? fresh->origins[i].where
                                                                       : "default");
                if (r < 0)
                        return r;
                changes->texts[i] = TAKE_PTR(after);
        }
        return 0;
}

int config_reload(struct config *c, struct config *fresh, struct config_notes *notes) {
        _cleanup_(changes_done) struct changes changes = {};
        int r, n_changed = 0;

        assert(c);
        assert(fresh);
        assert(notes);

        r = changes_find(&changes, c, fresh, notes);
        if (r < 0)
                return r;

        for (size_t i = 0; i < config_n_keys; i++) {
                const struct config_key *k = config_keys + i;

                c->pending[i] = mem_free(c->pending[i]);
                if (changes.texts[i] && !k->can_reload) {
                        c->pending[i] = TAKE_PTR(changes.texts[i]);
                        continue;
                }
                if (stays_default(c, fresh, i))
                        continue;
                n_changed += changes.texts[i] != NULL;
                swap_value(c, fresh, k);
                swap(c->origins + i, fresh->origins + i, sizeof(c->origins[i]));
        }

        return n_changed;
}
