/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Takes messages from where they are and hands them to the sender.
 *
 * The fast path is a stream of lines: a large read(2), memchr(3), and the producer, which copies
 * straight from the buffer.
 */

#include "drmq-send/sources.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/alloc.h"
#include "base/logging.h"
#include "cli/interrupt.h"
#include "drmq-send/input.h"
#include "drmq-send/json.h"

/* What is in the key, what is left of the value. Without the separator it is all value. */
static void split_key(const struct source *src, struct drmq_outgoing *m) {
        const char *p = m->value, *found;

        found = memmem(p, m->value_size, src->key_separator, src->n_key_separator);
        if (!found)
                return;
        m->key = p;
        m->key_size = (size_t) (found - p);
        m->value = found + src->n_key_separator;
        m->value_size -= m->key_size + src->n_key_separator;
}

static int send_value(const struct source *src, struct sender *s, const char *p, size_t n) {
        struct drmq_outgoing m = src->message;

        m.value = p;
        m.value_size = n;
        if (src->key_separator)
                split_key(src, &m);
        return sender_send(s, &m);
}

static int interrupted(struct sender *s) {
        progress_clear(&s->progress);
        return log_error_errno(-ECANCELED, "Interrupted");
}

/* What a refused message is called, and why it was refused. Returns @r. */
static int refused(struct sender *s, int r, const char *name) {
        if (r == -ECANCELED)
                return interrupted(s);
        progress_clear(&s->progress);
        if (r == -EMSGSIZE && s->is_atomic)
                return log_error_errno(
                        r,
                        "%s: larger than a message, or all of them than a request, may be",
                        name);
        if (r == -EMSGSIZE)
                return log_error_errno(r, "%s: larger than a message may be, 8M", name);
        if (r == -ENOMEM)
                return log_oom();
        /* No fault of this message. */
        if (r == -ENOTCONN || r == -EAGAIN || r == -ETIMEDOUT || r == -EPERM || r == -EPROTO)
                return log_error_errno(r, "Cannot send: %s", drmq_client_error(s->client));
        return log_error_errno(r, "%s: %s", name, drmq_client_error(s->client));
}

int source_send_arguments(const struct source *src, struct sender *s, char **args, size_t n) {
        int r;

        assert(src);
        assert(s);
        assert(args);

        for (size_t i = 0; i < n; i++) {
                char name[64];

                if (!sender_is_well(s)) {
                        s->is_cut = true;
                        return 0;
                }
                if (interrupt_count() > 0)
                        return interrupted(s);

                (void) snprintf(name, sizeof(name), "Message %zu", i + 1);
                r = send_value(src, s, args[i], strlen(args[i]));
                if (r < 0)
                        return refused(s, r, name);
                s->n_consumed = i + 1;
        }
        return 0;
}

static int send_file(const struct source *src, struct sender *s, const char *path) {
        _cleanup_(mem_freep) char *content = NULL;
        size_t n;
        int r;

        r = fs_read_file(path, MESSAGE_BYTES_MAX, &content, &n);
        if (r == -EFBIG)
                return refused(s, -EMSGSIZE, path);
        if (r < 0) {
                progress_clear(&s->progress);
                return log_error_errno(r, "Cannot read %s: %m", path);
        }

        r = send_value(src, s, content, n);
        return r < 0 ? refused(s, r, path) : 0;
}

int source_send_files(const struct source *src, struct sender *s, char **paths, size_t n) {
        int r;

        assert(src);
        assert(s);
        assert(paths);

        for (size_t i = 0; i < n; i++) {
                if (!sender_is_well(s)) {
                        s->is_cut = true;
                        return 0;
                }
                if (interrupt_count() > 0)
                        return interrupted(s);

                r = send_file(src, s, paths[i]);
                if (r < 0)
                        return r;
                s->n_consumed = i + 1;
                sender_show(s);
        }
        return 0;
}

static int send_record(const struct source *src,
                       struct sender *s,
                       struct json_message *json,
                       const char *p,
                       size_t n,
                       char reterr[static JSON_ERROR_MAX]) {

        struct drmq_outgoing m;
        int r;

        if (!json)
                return send_value(src, s, p, n);

        r = json_message_parse(json, p, n, &src->message, &m, reterr);
        return r <= 0 ? r : sender_send(s, &m);
}

/* Why record @number could not be cut from the stream or be sent; @why: what is wrong with its
 * JSON, or "". */
static int
bad_record(const struct source *src, struct sender *s, uint64_t number, int r, const char *why) {
        char name[64];

        (void) snprintf(name, sizeof(name), "%s %" PRIu64, src->unit, number);
        if (r != -EBADMSG)
                return refused(s, r, name);

        progress_clear(&s->progress);
        return log_error_errno(r, "%s: %s", name, *why ? why : "the input ends within it");
}

/* Sends all that is in the buffer. Return: 0; negative errno, logged. */
static int send_buffered(const struct source *src,
                         struct sender *s,
                         struct input *in,
                         struct json_message *json) {

        char why[JSON_ERROR_MAX] = "";
        const char *p;
        size_t n;
        int r;

        for (;;) {
                r = input_next(in, &p, &n);
                if (r == 0)
                        return 0;
                if (r < 0)
                        return bad_record(src, s, in->n_records + 1, r, "");

                r = send_record(src, s, json, p, n, why);
                if (r == -ECANCELED && interrupt_count() == 1)
                        return 0; /* it was waiting for its pace: that is where the stream ends */
                if (r < 0)
                        return bad_record(src, s, in->n_records, r, why);
        }
}

/* Signals end it between two reads: what was read is sent, but for a line that is not whole yet. */
static int send_input(const struct source *src,
                      struct sender *s,
                      struct input *in,
                      struct json_message *json) {
        int r;

        for (;;) {
                r = sender_wait(s, in->fd);
                if (r < 0)
                        return r;
                if (r == 0) {
                        s->is_cut = !sender_is_well(s);
                        return 0;
                }

                r = input_fill(in);
                if (r == -EINTR)
                        continue;
                if (r < 0)
                        return log_error_errno(r, "Cannot read input: %m");
                s->n_consumed = in->n_bytes;

                r = send_buffered(src, s, in, json);
                if (r < 0)
                        return r;
                if (in->is_at_end)
                        return 0;
        }
}

int source_send_stream(const struct source *src, struct sender *s, int fd) {
        _cleanup_(json_message_freep) struct json_message *json = NULL;
        struct input in;
        int r;

        assert(src);
        assert(s);

        if (src->is_json && json_message_new(&json) < 0)
                return log_oom();
        r = input_init(&in,
                       fd,
                       src->delimiter,
                       src->n_delimiter,
                       src->is_json ? JSON_BYTES_MAX : MESSAGE_BYTES_MAX);
        if (r < 0)
                return log_oom();

        r = send_input(src, s, &in, json);
        input_done(&in);
        return r;
}
