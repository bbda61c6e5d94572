/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which known name a person meant. */

#include "base/macro.h"

/* Longer names are not compared. */
#define NEAREST_NAME_MAX 64u

/* How many letters must be typed, dropped, changed or swapped with their neighbour to make @b of
 * @a. Capitals count as small letters, and '-', '_' and '.' as each other. UINT_MAX: more than
 * @max, or one of them is too long. */
unsigned nearest_distance(const char *a, const char *b, unsigned max);

/* Whether they are the same, but for capitals and signs as above: distance 0, of names of any
 * length. */
bool nearest_is_same(const char *a, const char *b);

/* The most changes for which a guess is not a surprise: a third of what was typed. */
unsigned nearest_distance_max(const char *typed);
