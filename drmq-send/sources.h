/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where messages come from: the command line, files, or a stream. Each ends at the end of what it
 * reads, at a signal, or where the sender is not well; what is wrong is logged and names the
 * message (the line, the file).
 */

#include "drmq-send/sender.h"

struct source {
        struct drmq_outgoing message; /* what all have in common */
        const char *delimiter;        /* of a stream; n 0: framed */
        size_t n_delimiter;
        bool is_json;
        const char *key_separator; /* NULL: none */
        size_t n_key_separator;
        const char
                *unit; /* "Line", "Message", "Frame": what messages about a stream call a record */
};

/* Return: 0; negative errno, logged. */
int source_send_arguments(const struct source *src, struct sender *s, char **args, size_t n);
int source_send_files(const struct source *src, struct sender *s, char **paths, size_t n);
int source_send_stream(const struct source *src, struct sender *s, int fd);
