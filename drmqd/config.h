/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the daemon is told: the table of keys "section.key", and the values they have. Every key has
 * a type, a default and a range; drmq.conf(5) lists them, and a test holds the page to the table.
 *
 * A new key is one line in the table (config.c), a member of struct broker_config with its default
 * in broker_config_init() (drmqd/core/broker.h), and an entry in the page.
 */

#include "base/macro.h"
#include "base/parse.h"
#include "base/time.h"
#include "drmqd/core/broker.h"

#define LISTEN_MAX 16u
#define DEFAULT_PORT 9092u

struct config {
        char *node_name; /* NULL: "node" and the node's number */
        char *data_dir;  /* NULL: below /var/lib/drmq, by the node's name */
        char *advertise; /* NULL: the first TCP address */
        struct address listen[LISTEN_MAX];
        size_t n_listen;
        uint64_t log_level; /* LOG_ERR … LOG_DEBUG */

        /* The core's part. Its names are set by the shell when it opens the broker. */
        struct broker_config broker;
};

enum config_type {
        CONFIG_BOOL,     /* a bool */
        CONFIG_COUNT,    /* the others to CONFIG_CHOICE: a uint64_t */
        CONFIG_SIZE,     /* bytes */
        CONFIG_DURATION, /* usec_t */
        CONFIG_CHOICE,   /* nothing but words */
        CONFIG_NAME,     /* the others to CONFIG_ADDRESS: a char *, NULL where nothing is said */
        CONFIG_PATH,
        CONFIG_ADDRESS,
        CONFIG_ADDRESSES, /* config.listen, a list */
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

/* All of them, in the order of the page. */
extern const struct config_key config_keys[];
extern const size_t config_n_keys;

/* The defaults. */
void config_init(struct config *c);
void config_done(struct config *c);

/**
 * config_set() - "section.key=value"
 * @reterr_why: in words, what is wrong with it: new string (mem_free()), or NULL without memory
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
int config_set(struct config *c, const char *assignment, char **reterr_why);
