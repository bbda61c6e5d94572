/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3). Results are ignored: a manager that does not hear is no reason to fail. */
#include "loop/notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#define STATUS_BYTES_MAX 512u

void notify_ready(void) {
        (void) sd_notify(/* unset_environment= */ 0, "READY=1");
}

void notify_stopping(void) {
        (void) sd_notify(/* unset_environment= */ 0, "STOPPING=1");
}

void notify_status(const char *format, ...) {
        char text[STATUS_BYTES_MAX] = "STATUS=";
        size_t n = strlen(text);
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text + n, sizeof(text) - n, format, ap);
        va_end(ap);

        for (char *p = text + n; *p; p++) /* a line end would begin another variable */
                if (*p == '\n')
                        *p = ' ';

        (void) sd_notify(/* unset_environment= */ 0, text);
}
