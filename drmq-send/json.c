/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads JSON objects by jansson. The strings of a message are those of the tree, which lives until
 * the next line; what was base64 is kept in memory of its own.
 */

#include "drmq-send/json.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/format.h"
#include "base/parse.h"

struct json_message {
        json_t *root;
        uint8_t **decoded;
        size_t n_decoded, n_decoded_allocated;
        struct drmq_header *headers;
        size_t n_headers, n_headers_allocated;
        char *error; /* of the call under way; borrowed */
};

int json_message_new(struct json_message **ret) {
        struct json_message *m;

        assert(ret);

        m = new0(struct json_message, 1);
        if (!m)
                return -ENOMEM;
        *ret = m;
        return 0;
}

static void clear(struct json_message *m) {
        json_decref(m->root);
        m->root = NULL;
        while (m->n_decoded > 0)
                mem_free(m->decoded[--m->n_decoded]);
        m->n_headers = 0;
}

struct json_message *json_message_free(struct json_message *m) {
        if (!m)
                return NULL;

        clear(m);
        mem_free(m->decoded);
        mem_free(m->headers);
        return mem_free(m);
}

static _printf_(2, 3) int refuse(struct json_message *m, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(m->error, JSON_ERROR_MAX, format, ap);
        va_end(ap);
        return -EBADMSG;
}

/* A string of the tree as bytes, or what it is the base64 of. @name: for the message. */
static int read_bytes(struct json_message *m,
                      const json_t *v,
                      const char *name,
                      bool is_base64,
                      const void **ret,
                      size_t *ret_n) {

        uint8_t *bytes;
        int r;

        if (!json_is_string(v))
                return refuse(m, "\"%s\" is neither a string nor null", name);

        *ret = json_string_value(v);
        *ret_n = json_string_length(v);
        if (!is_base64)
                return 0;

        if (!grow(m->decoded, m->n_decoded_allocated, m->n_decoded + 1))
                return -ENOMEM;
        r = base64_decode(json_string_value(v), json_string_length(v), &bytes, ret_n);
        if (r == -EINVAL)
                return refuse(m, "\"%s\" is not base64", name);
        if (r < 0)
                return r;
        m->decoded[m->n_decoded++] = bytes;
        *ret = bytes;
        return 0;
}

/* "key" or "key_base64". Return: 1 there is one of them, NULL for null; 0 neither. */
static int read_member(struct json_message *m,
                       const char *name,
                       const char *name_base64,
                       const void **ret,
                       size_t *ret_n) {

        const json_t *plain = json_object_get(m->root, name);
        const json_t *encoded = json_object_get(m->root, name_base64);
        int r;

        if (plain && encoded)
                return refuse(m, "\"%s\" and \"%s\" exclude each other", name, name_base64);
        if (!plain && !encoded)
                return 0;
        if (json_is_null(plain ?: encoded)) {
                *ret = NULL;
                *ret_n = 0;
                return 1;
        }

        r = read_bytes(m,
                       plain ?: encoded,
                       plain ? name : name_base64,
                       /* is_base64= */ !plain,
                       ret,
                       ret_n);
        return r < 0 ? r : 1;
}

static int add_header(struct json_message *m, const char *name, const json_t *v) {
        struct drmq_header h = { .name = name };
        const json_t *encoded = json_object_get(v, "base64");
        int r;

        if (!json_is_null(v)) {
                r = read_bytes(m,
                               encoded ?: v,
                               name,
                               /* is_base64= */ encoded != NULL,
                               &h.value,
                               &h.value_size);
                if (r < 0)
                        return r;
        }
        if (!grow(m->headers, m->n_headers_allocated, m->n_headers + 1))
                return -ENOMEM;
        m->headers[m->n_headers++] = h;
        return 0;
}

static int read_headers(struct json_message *m, json_t *headers) {
        const char *name;
        json_t *v;
        int r;

        if (!json_is_object(headers))
                return refuse(m, "\"headers\" is not an object");

        json_object_foreach(headers, name, v) {
                if (!json_is_array(v)) {
                        r = add_header(m, name, v);
                        if (r < 0)
                                return r;
                        continue;
                }
                for (size_t i = 0; i < json_array_size(v); i++) {
                        r = add_header(m, name, json_array_get(v, i));
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int read_timestamp(struct json_message *m, const json_t *v, int64_t *ret_ms) {
        if (json_is_integer(v) && json_integer_value(v) >= 0)
                *ret_ms = json_integer_value(v);
        else if (!json_is_string(v) ||
                 parse_time_ms(json_string_value(v), now_wall_ms(), ret_ms) < 0)
                return refuse(m, "\"timestamp\" is neither milliseconds nor a time");
        return 0;
}

static int read_object(struct json_message *m, struct drmq_outgoing *ret) {
        json_t *v;
        int r;

        r = read_member(m, "value", "value_base64", &ret->value, &ret->value_size);
        if (r < 0)
                return r;
        if (r == 0)
                return refuse(m, "there is no \"value\"");

        r = read_member(m, "key", "key_base64", &ret->key, &ret->key_size);
        if (r < 0)
                return r;

        v = json_object_get(m->root, "topic");
        if (v) {
                ret->topic = json_string_value(v);
                if (!ret->topic || strlen(ret->topic) != json_string_length(v) ||
                    !topic_name_is_valid(ret->topic))
                        return refuse(m, "\"topic\" is not a topic's name");
        }

        v = json_object_get(m->root, "partition");
        if (v) {
                json_int_t partition = json_is_integer(v) ? json_integer_value(v) : -1;

                if (partition < 0 || partition >= (json_int_t) DRMQ_PARTITION_ANY)
                        return refuse(m, "\"partition\" is not a number of a partition");
                ret->partition = (uint32_t) partition;
        }

        v = json_object_get(m->root, "timestamp");
        if (v) {
                r = read_timestamp(m, v, &ret->timestamp_ms);
                if (r < 0)
                        return r;
        }

        v = json_object_get(m->root, "headers");
        if (v) {
                r = read_headers(m, v);
                if (r < 0)
                        return r;
                ret->headers = m->headers;
                ret->n_headers = m->n_headers;
        }
        return 1;
}

static bool is_blank(const char *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r')
                        return false;
        return true;
}

int json_message_parse(struct json_message *m,
                       const char *p,
                       size_t n,
                       const struct drmq_outgoing *template,
                       struct drmq_outgoing *ret,
                       char reterr[static JSON_ERROR_MAX]) {

        struct drmq_outgoing message;
        json_error_t e;
        int r;

        assert(m);
        assert(p);
        assert(template);
        assert(ret);

        if (is_blank(p, n))
                return 0;

        clear(m);
        m->error = reterr;
        m->root = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
        if (!m->root) {
                if (json_error_code(&e) == json_error_out_of_memory)
                        return -ENOMEM;
                return refuse(m, "invalid JSON at byte %d: %s", e.position, e.text);
        }
        if (!json_is_object(m->root))
                return refuse(m, "it is not a JSON object");

        message = *template;
        r = read_object(m, &message);
        if (r > 0)
                *ret = message;
        return r;
}
