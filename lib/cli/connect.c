/* SPDX-License-Identifier: Apache-2.0 */

/* Makes clients, and tells what their errors say. */

#include "cli/connect.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/logging.h"

static int several_sockets(void) {
        char *list = NULL;

        (void) drmq_default_brokers(&list); /* -ENOTUNIQ, which is why we are here */
        log_error("There are several nodes, name one with -b: %s", list ?: "(unknown)");
        free(list);
        return -EINVAL;
}

int connect_new(const char *brokers, usec_t timeout_usec, drmq_client **ret) {
        _cleanup_(drmq_client_freep) drmq_client *c = NULL;
        const char *given = brokers ?: getenv("DRMQ_BROKERS");
        int r;

        assert(ret);

        r = drmq_client_new(brokers, &c);
        if (r == -ENOTUNIQ)
                return several_sockets();
        if (r == -EINVAL)
                return log_error_errno(
                        r, "'%s' is not a list of addresses (host:port,unix:/path)", given ?: "");
        if (r < 0)
                return log_error_errno(r, "Cannot make a client: %m");

        r = drmq_client_set_timeout(c, timeout_usec);
        if (r < 0)
                return log_error_errno(r, "Cannot set the time limit: %m");

        *ret = TAKE_PTR(c);
        return 0;
}

int connect_error(const drmq_client *c, int r, const char *format, ...) {
        char what[512];
        const char *why = drmq_client_error(c);
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(what, sizeof(what), format, ap);
        va_end(ap);

        if (*why)
                log_error("%s: %s", what, why);
        else
                (void) log_error_errno(r, "%s: %m", what);
        return r;
}
