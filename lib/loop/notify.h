/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the service manager is told (sd_notify(3)). Nothing happens where there is none; one that does
 * not listen is waited for up to 3 s when it is told that the node is ready, and 1 s otherwise. */

#include "base/macro.h"
#include "base/time.h"

/* Whether there is somebody to tell. */
bool notify_is_on(void);
void notify_ready(void);
/* The configuration is read anew; notify_ready() ends it. */
void notify_reloading(void);
void notify_stopping(void);
/* One line for `systemctl status`. */
void notify_status(const char *format, ...) _printf_(1, 2);
/* The same from a start that takes its time, and that wants @extend_usec more from now on before
 * the manager gives up. */
void notify_progress(usec_t extend_usec, const char *format, ...) _printf_(2, 3);

/* The manager keeps a duplicate of @fd over restarts and crashes, and passes it to the next start by
 * @name (loop/passed.h). Storing the same again changes nothing. */
void notify_store(int fd, const char *name);
/* All that is stored by that name is closed: nothing, where it is none to store by. Nothing else says
 * when: notify_wait(). */
void notify_unstore(const char *name);
/* A name that can be stored by: up to 255 printable characters of ASCII without colons. */
bool notify_name_is_valid(const char *name);

/**
 * notify_wait() - until the manager has acted on all that it was told
 *
 * Return: 1; 0 nobody is told; -ETIMEDOUT; -EAGAIN it does not listen; what socket calls say.
 */
int notify_wait(usec_t timeout_usec);

/* Within what time the manager wants to hear notify_alive(), each time anew; USEC_INFINITY: not at
 * all. */
usec_t notify_watchdog_usec(void);
void notify_alive(void);
