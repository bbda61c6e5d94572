/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A whole broker in a process of its own, for tests of the client library. */

#include <sys/types.h>

struct server {
        pid_t pid;
        char data_dir[256];
        char brokers[256]; /* "unix:…" */
};

/* Starts it, and returns when it serves. The first time it gets a folder; with the same struct again
 * it goes on with its data. It does not outlive the test. */
void server_start(struct server *s);
/* Ends it by a signal, and waits for that. */
void server_end(struct server *s, int sig);
