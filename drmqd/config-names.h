/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names that are no keys, and what was meant by them. */

#include "drmqd/config.h"

/* What another broker calls a key; '.', '-' and '_' are the same in it. The page has all of them. */
struct config_foreign_name {
        const char *whose;
        const char *theirs;
        const char *ours;
};
extern const struct config_foreign_name config_foreign_names[];
extern const size_t config_n_foreign_names;

/**
 * config_suggest() - which key somebody meant
 * @section: NULL: none
 *
 * Return: words to put behind "unknown key", for a foreign name or a slip: a new string, which may
 * be empty; NULL: no memory.
 */
char *config_suggest(const char *section, const char *key);
/* The same for a section. */
char *config_suggest_section(const char *section);
/* Whether any key has it. */
bool config_section_is_known(const char *section, size_t n);
