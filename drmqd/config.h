/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the daemon is told: the table of keys "section.key", and the values they have. Every key has
 * a type, a default and a range; drmq.conf(5) lists them, and a test holds the page and the sample
 * (systemd/node.conf) to the table.
 *
 * A new key is one line in the table (config.c), a member of struct broker_config with its default
 * in broker_config_init() (drmqd/core/broker.h), and an entry in the page and the sample. Where it
 * can be reloaded, broker_reconfigure() applies it.
 *
 * Where values are read from, and in which order, is config-load.h.
 */

#include "base/macro.h"
#include "base/parse.h"
#include "base/time.h"
#include "drmqd/core/broker.h"

#define LISTEN_MAX 16u
#define DEFAULT_PORT 9092u

enum config_type {
        CONFIG_BOOL,     /* a bool */
        CONFIG_COUNT,    /* from here to CONFIG_CHOICE: a uint64_t */
        CONFIG_SIZE,     /* bytes */
        CONFIG_DURATION, /* usec_t */
        CONFIG_CHOICE,   /* nothing but words */
        CONFIG_NAME,     /* from here to CONFIG_ADDRESS: a char *, NULL where nothing is said */
        CONFIG_PATH,
        CONFIG_ADDRESS,
        CONFIG_ADDRESSES, /* config.listen: what is assigned is added */
};

/* A value that is said by a word: "never", "off". */
struct config_word {
        const char *text;
        uint64_t value;
};
#define CONFIG_WORDS_MAX 8u

struct config_key {
        const char *name; /* "section.key" */
        enum config_type type;
        size_t member; /* of struct config */
        /* of numbers; both included, and words are beside the range */
        uint64_t min, max;
        const char *default_text;
        bool can_reload;
        const char *help; /* a few words */
        struct config_word words[CONFIG_WORDS_MAX];
};

/* All of them, in the order of the page; those of a section are together. */
extern const struct config_key config_keys[];
extern const size_t config_n_keys;
#define CONFIG_KEYS_MAX 64u

/* Where a value comes from; each wins over those before it. */
enum config_source {
        CONFIG_DEFAULT,
        CONFIG_FILE,
        CONFIG_ENVIRONMENT,
        CONFIG_COMMAND_LINE,
};

struct config_origin {
        enum config_source source;
        char *where; /* "FILE:LINE", "DRMQ_SECTION_KEY", "--option"; NULL for the default */
};

struct config {
        char *node_name; /* config_load() fills in these two where nothing is said */
        char *data_dir;
        char *advertise; /* NULL: the first TCP address */
        struct address listen[LISTEN_MAX];
        size_t n_listen;    /* 0: 127.0.0.1, DEFAULT_PORT */
        uint64_t log_level; /* LOG_ERR … LOG_DEBUG */

        /* The core's part. Its names are set by the shell when it opens the broker. */
        struct broker_config broker;

        struct config_origin origins[CONFIG_KEYS_MAX]; /* by place in the table */
        /* what a reload found, where only a restart takes it; else NULL */
        char *pending[CONFIG_KEYS_MAX];
};

/* The defaults. */
void config_init(struct config *c);
/* Frees what @c holds; it is empty then. */
void config_done(struct config *c);

/* NULL: there is none of that name, of @n characters. */
const struct config_key *config_key_find(const char *name, size_t n);
/* "a size from 1M to 1G, or off" in a new string; NULL: no memory. */
char *config_key_describe(const struct config_key *k);
/* "default", "file", "environment", "command line". */
const char *config_source_name(enum config_source source);

/**
 * config_assign() - give a key a value
 * @value: empty: the default again; for a list of addresses, parted by blanks or commas: what is
 *         assigned is added to what the same source said, and replaces what weaker sources said
 * @where: as in struct config_origin; borrows
 *
 * Return: 0; -EINVAL malformed, -ERANGE out of range: the value is as before; -ENOMEM.
 */
int config_assign(struct config *c,
                  const struct config_key *k,
                  const char *value,
                  enum config_source source,
                  const char *where);

/* All keys as FRAME_CONFIG has them: config_n_keys of them in a new array,
 * config_settings_free(). -ENOMEM. */
int config_settings_new(const struct config *c, struct broker_setting **ret);
struct broker_setting *config_settings_free(struct broker_setting *settings);
DEFINE_CLEANUP(struct broker_setting *, config_settings_free)

/* The value as it would be written in a file: new string; NULL: no memory. */
char *config_format(const struct config *c, const struct config_key *k);
