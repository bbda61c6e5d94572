/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the service manager is told (sd_notify(3)). Nothing happens where there is none. */

#include "base/macro.h"

void notify_ready(void);
void notify_stopping(void);
/* One line for `systemctl status`. */
void notify_status(const char *format, ...) _printf_(1, 2);
