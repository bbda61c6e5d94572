/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Log records as journal entries with their fields (base/logging.h), where stderr goes to the
 * journal anyway. */

#include "base/logging.h"

/* Whether stderr is the stream that $JOURNAL_STREAM names: systemd.exec(5). */
bool journal_is_stderr(void);

/* Makes the journal the sink of all log records if stderr goes there. Return: 1 it is the sink; 0
 * it is not. */
int journal_set_sink(void);
/* Each record has the field DRMQ_NODE from now on. */
void journal_set_node(const char *name);
