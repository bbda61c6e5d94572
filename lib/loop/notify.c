/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3). Results are ignored: a manager that does not hear is no reason to fail. */
#include "loop/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "base/time.h"

#define TEXT_BYTES_MAX 768u
#define STORED_NAME_MAX 255u /* sd_pid_notify_with_fds(3) */

bool notify_is_on(void) {
        return getenv("NOTIFY_SOCKET") != NULL;
}

void notify_ready(void) {
        (void) sd_notify(/* unset_environment= */ 0, "READY=1");
}

void notify_reloading(void) {
        (void) sd_notifyf(/* unset_environment= */ 0,
                          "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
                          now_monotonic_usec());
}

void notify_stopping(void) {
        (void) sd_notify(/* unset_environment= */ 0, "STOPPING=1");
}

/* @before: whole lines. */
static _printf_(2, 0) void send_status(const char *before, const char *format, va_list ap) {
        char text[TEXT_BYTES_MAX];
        int n;

        n = snprintf(text, sizeof(text), "%sSTATUS=", before);
        assert(n > 0 && (size_t) n < sizeof(text));
        (void) vsnprintf(text + n, sizeof(text) - (size_t) n, format, ap);

        for (char *p = text + n; *p; p++) /* a line end would begin another variable */
                if (*p == '\n')
                        *p = ' ';

        (void) sd_notify(/* unset_environment= */ 0, text);
}

void notify_status(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        send_status("", format, ap);
        va_end(ap);
}

void notify_progress(usec_t extend_usec, const char *format, ...) {
        char extend[64];
        va_list ap;

        snprintf(extend, sizeof(extend), "EXTEND_TIMEOUT_USEC=%" PRIu64 "\n", extend_usec);
        va_start(ap, format);
        send_status(extend, format, ap);
        va_end(ap);
}

bool notify_name_is_valid(const char *name) {
        size_t n = strlen(name);

        for (size_t i = 0; i < n; i++)
                if (name[i] < ' ' || name[i] > '~' || name[i] == ':')
                        return false;
        return n > 0 && n <= STORED_NAME_MAX;
}

void notify_store(int fd, const char *name) {
        char text[STORED_NAME_MAX + 64];

        assert(fd >= 0);
        assert(notify_name_is_valid(name));

        snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
        (void) sd_pid_notify_with_fds(/* pid= */ 0, /* unset_environment= */ 0, text, &fd, 1);
}

void notify_unstore(const char *name) {
        char text[STORED_NAME_MAX + 64];

        assert(name);

        if (!notify_name_is_valid(name))
                return; /* nothing is stored by it */

        snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
        (void) sd_notify(/* unset_environment= */ 0, text);
}

int notify_wait(usec_t timeout_usec) {
        return sd_notify_barrier(/* unset_environment= */ 0, timeout_usec);
}
