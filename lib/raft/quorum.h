/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The arithmetic of majorities, and nothing else (Raft thesis, section 3.1). */

#include "base/macro.h"

/* Voters that make a majority of @n_voters. */
unsigned quorum_size(unsigned n_voters);

/**
 * quorum_index() - the highest index that a majority holds
 * @match: what each voter is known to hold; sorted in place
 *
 * Return: 0 for no voters.
 */
uint64_t quorum_index(uint64_t *match, unsigned n_voters);
