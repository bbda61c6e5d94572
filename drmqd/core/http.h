/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * As much of HTTP/1.1 (RFC 9110, RFC 9112) as two pages take: the head of one request in, the head
 * of one answer out. It is written by hand because a library would be larger than both, and would
 * want sockets, threads or memory of its own.
 *
 * What it leaves out, and may: a connection has one answer ("Connection: close", RFC 9112 9.6), so
 * nothing behind the head is looked at, neither a body nor a second request; Host is not asked for,
 * there is one host; a query is ignored.
 */

#include "base/macro.h"

/* A request's line and headers; past it the answer is 431. */
#define HTTP_HEAD_BYTES_MAX 8192u
/* Enough for http_answer_head(). */
#define HTTP_ANSWER_HEAD_BYTES_MAX 256u

enum http_method {
        HTTP_GET,
        HTTP_HEAD,
        HTTP_OTHER,
};

struct http_request {
        /* 0: it can be answered; else the answer is this: 400, 405, 431 or 505 */
        unsigned status;
        enum http_method method;
        const char *path; /* without the query; borrows from what was parsed; "/…" or "*" */
        size_t path_bytes;
};

/* How much has to be there before http_is_request() can tell. */
#define HTTP_MAGIC_BYTES 4u
/* Whether a connection that begins with these bytes speaks HTTP: a method that is known, in
 * capitals. */
bool http_is_request(const uint8_t p[static HTTP_MAGIC_BYTES]);

/**
 * http_parse() - the head of a request
 * @p: what has arrived from the beginning of the connection on; borrows
 * @ret: written where the result is 1
 *
 * Return: 1 it is whole, or so wrong that the rest does not matter: ret->status; 0 more must come.
 */
int http_parse(const void *p, size_t n, struct http_request *ret);

/* The path is this one. */
bool http_path_is(const struct http_request *q, const char *path);

/**
 * http_answer_head() - everything before the body
 * @status: 200, 400, 404, 405, 431, 503 or 505
 * @n_body: bytes that follow; for HEAD, that would follow
 *
 * Return: its bytes.
 */
size_t http_answer_head(char dest[static HTTP_ANSWER_HEAD_BYTES_MAX],
                        unsigned status,
                        const char *content_type,
                        size_t n_body);
/* "Not Found": never NULL. */
const char *http_reason(unsigned status);
