/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A message as a JSON object, as drmq-recv --json writes it:
 *
 *     {"topic":"t","partition":0,"key":"k","value":"v","headers":{"name":"value"},"timestamp":1763632800000}
 *
 * Only "value" must be there; null is none. Instead of "key" and "value" there may be "key_base64"
 * and "value_base64". The value of a header is a string, null, {"base64":"…"}, or an array of these
 * where the name repeats. "timestamp" is in milliseconds since 1970, or a text as parse_time_ms()
 * takes it. Members of other names are passed over: "offset".
 */

#include "drmq.h"

#include "base/macro.h"

#define JSON_ERROR_MAX 256u

struct json_message;

/* One for all lines: it keeps its memory. Return: 0; -ENOMEM. */
int json_message_new(struct json_message **ret);
struct json_message *json_message_free(struct json_message *m);
DEFINE_CLEANUP(struct json_message *, json_message_free)

/**
 * json_message_parse() - a line as a message
 * @p:        @n bytes of one object
 * @template: what holds where the object does not say
 * @ret:      borrows from @m and @template, until the next call
 * @reterr:   what is wrong, in words
 *
 * Return: 1; 0 there are only blanks; -EBADMSG it is not such an object; -ENOMEM.
 */
int json_message_parse(struct json_message *m,
                       const char *p,
                       size_t n,
                       const struct drmq_outgoing *template,
                       struct drmq_outgoing *ret,
                       char reterr[static JSON_ERROR_MAX]);
