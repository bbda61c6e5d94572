/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where the configuration comes from. As in systemd: NAME.conf of the first folder that has one,
 * then the drop-ins NAME.conf.d/….conf of all folders, sorted by file name, where a name in an
 * earlier folder masks that name in later ones; then the environment (DRMQ_SECTION_KEY); then the
 * command line. A node needs none of it.
 *
 * Nothing is printed here: what there is to say is gathered in struct config_notes. Unknown keys
 * are warnings, with the nearest that there is; malformed values are errors.
 */

#include "drmqd/config.h"

/* What an option of the command line says. */
struct config_argument {
        const struct config_key *key;
        char *value;
        const char *option; /* "--port" */
};

/* All borrowed until return. */
struct config_sources {
        const char *file; /* --config: this file must exist; NULL: by the node's name */
        /* where NAME.conf is searched: "/etc/drmq:/run/drmq:…"; NULL: CONFIG_PATH_DEFAULT */
        const char *path;
        char *const *environment; /* as environ(7); NULL: none */
        const struct config_argument *arguments;
        size_t n_arguments;
};
#define CONFIG_PATH_DEFAULT "/etc/drmq:/run/drmq:/usr/local/lib/drmq:/usr/lib/drmq"

struct config_note {
        int level;  /* LOG_ERR, LOG_WARNING, LOG_INFO */
        char *file; /* NULL: it is about none */
        char *text; /* a sentence, with file and line where there are some */
};

/* What is more, of errors and of the rest, is counted only: a file that is something else does not
 * fill the journal. */
#define CONFIG_NOTES_MAX 100u

struct config_notes {
        struct config_note *notes;
        size_t n;
        size_t n_allocated;
        size_t n_errors; /* of LOG_ERR, also those that are not there any more */
        size_t n_others;
};

void config_notes_done(struct config_notes *n);
/* -ENOMEM. @file: NULL, or what the note is about. Past CONFIG_NOTES_MAX nothing is added but, once,
 * that there is more. */
int config_notes_add(struct config_notes *n, int level, const char *file, const char *format, ...)
        _printf_(4, 5);

/**
 * config_load() - the configuration of a node, from all sources
 * @ret:   config_done() it
 * @notes: gets what there is to say, also after a failure
 *
 * Return: 0; -EINVAL there are errors among @notes; -ENOMEM.
 */
int config_load(const struct config_sources *sources,
                struct config *ret,
                struct config_notes *notes);

/**
 * config_read() - what one file says, from its bytes
 * @name: what notes and origins call it
 *
 * Return: 0, also where there are errors among @notes; -ENOMEM.
 */
int config_read(
        struct config *c, const char *name, const char *text, size_t n, struct config_notes *notes);

/* Notes what does not go together. -ENOMEM. */
int config_check(const struct config *c, struct config_notes *notes);

/**
 * config_reload() - take over from @fresh, as it was just loaded, what needs no restart
 * @fresh: gets what it replaces: to be freed by the caller
 * @notes: gets a warning for each key that has changed and needs a restart
 *
 * Return: how many keys have another value now; -ENOMEM: nothing has changed.
 */
int config_reload(struct config *c, struct config *fresh, struct config_notes *notes);
