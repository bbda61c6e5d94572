/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A head is looked at once its end is there; before that only its length matters. Lines end with
 * CR LF, or LF alone (RFC 9112 2.2). Whatever is not of the grammar is 400: two readers of such a
 * request might disagree about it.
 */
#include "drmqd/core/http.h"

#include <stdio.h>

struct text {
        const char *p;
        size_t n;
};

bool http_is_request(const uint8_t p[static HTTP_MAGIC_BYTES]) {
        static const char methods[][HTTP_MAGIC_BYTES + 1] = {
                "GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI", "PATC", "TRAC", "CONN",
        };

        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (memcmp(p, methods[i], HTTP_MAGIC_BYTES) == 0)
                        return true;
        return false;
}

/* RFC 9110 5.6.2 */
static bool is_token_char(char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct text t) {
        for (size_t i = 0; i < t.n; i++)
                if (!is_token_char(t.p[i]))
                        return false;
        return t.n > 0;
}

/* RFC 9110 5.5: what may stand in a field's value. Bytes above ASCII may. */
static bool is_field_value(struct text t) {
        for (size_t i = 0; i < t.n; i++) {
                uint8_t c = (uint8_t) t.p[i];

                if ((c < ' ' && c != '\t') || c == 0x7f)
                        return false;
        }
        return true;
}

static bool text_is(struct text t, const char *s) {
        return t.n == strlen(s) && memcmp(t.p, s, t.n) == 0;
}

/* Takes what stands before @c off the front, and @c. Return: whether there is one. */
static bool take_until(struct text *t, char c, struct text *ret) {
        const char *end = t->n > 0 ? memchr(t->p, c, t->n) : NULL;

        if (!end)
                return false;

        *ret = (struct text){ t->p, (size_t) (end - t->p) };
        t->n -= ret->n + 1;
        t->p = end + 1;
        return true;
}

/* The next line without its end. Return: whether a whole one is there. */
static bool take_line(struct text *t, struct text *ret) {
        if (!take_until(t, '\n', ret))
                return false;

        if (ret->n > 0 && ret->p[ret->n - 1] == '\r')
                ret->n--;
        return true;
}

/* RFC 9112 2.3. Return: 0, or the answer. */
static unsigned check_version(struct text v) {
        if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || v.p[5] < '0' || v.p[5] > '9' ||
            v.p[6] != '.' || v.p[7] < '0' || v.p[7] > '9')
                return 400;
        return v.p[5] == '1' ? 0 : 505;
}

/* RFC 9112 3.2: "/path?query", "http://host/path?query", "*". Return: whether it is of that
 * form. */
static bool take_target(struct text target, struct http_request *q) {
        struct text rest = target, part;

        for (size_t i = 0; i < target.n; i++)
                if (target.p[i] <= ' ' || target.p[i] > '~')
                        return false;

        if (target.n > 7 && memcmp(target.p, "http://", 7) == 0) {
                rest.p += 7;
                rest.n -= 7;
                if (!take_until(&rest, '/', &part)) /* "http://host" means its "/" */
                        rest = (struct text){ "/", 1 };
                else {
                        rest.p--;
                        rest.n++;
                }
        } else if (target.n == 0 || (target.p[0] != '/' && !text_is(target, "*")))
                return false;

        q->path = rest.p;
        q->path_bytes = rest.n;
        if (take_until(&rest, '?', &part))
                q->path_bytes = part.n;
        return true;
}

static unsigned parse_request_line(struct text line, struct http_request *q) {
        struct text method, target;
        unsigned status;

        if (!take_until(&line, ' ', &method) || !is_token(method))
                return 400;

        q->method = text_is(method, "GET")    ? HTTP_GET
                    : text_is(method, "HEAD") ? HTTP_HEAD
                                              : HTTP_OTHER;
        if (!take_until(&line, ' ', &target))
                return 400;
        status = check_version(line);
        if (status != 0)
                return status;
        return q->method == HTTP_OTHER ? 405 : take_target(target, q) ? 0 : 400;
}

/* Name and value alike must be of their form; a line that goes on from the one before is not
 * (RFC 9112 5.2). */
static bool check_field(struct text line) {
        struct text name;

        return take_until(&line, ':', &name) && is_token(name) && is_field_value(line);
}

/* The end of the head, or NULL. */
static const char *find_end(struct text head) {
        struct text line;

        while (take_line(&head, &line))
                if (line.n == 0)
                        return head.p;
        return NULL;
}

int http_parse(const void *p, size_t n, struct http_request *ret) {
        struct text head = { p, MIN(n, (size_t) HTTP_HEAD_BYTES_MAX) }, line = {};
        struct http_request q = {};
        const char *end;

        assert(p || n == 0);
        assert(ret);

        end = find_end(head);
        if (!end) {
                if (n < HTTP_HEAD_BYTES_MAX)
                        return 0;
                *ret = (struct http_request){ .status = 431, .method = HTTP_OTHER };
                return 1;
        }

        (void) take_line(&head, &line);
        q.status = parse_request_line(line, &q);
        while (q.status == 0 && take_line(&head, &line) && line.n > 0)
                if (!check_field(line))
                        q.status = 400;
        *ret = q;
        return 1;
}

bool http_path_is(const struct http_request *q, const char *path) {
        assert(q);
        assert(path);

        return text_is((struct text){ q->path, q->path_bytes }, path);
}

const char *http_reason(unsigned status) {
        switch (status) {
        case 200:
                return "OK";
        case 400:
                return "Bad Request";
        case 404:
                return "Not Found";
        case 405:
                return "Method Not Allowed";
        case 431:
                return "Request Header Fields Too Large";
        case 503:
                return "Service Unavailable";
        case 505:
                return "HTTP Version Not Supported";
        default:
                return "Unknown";
        }
}

size_t http_answer_head(char dest[static HTTP_ANSWER_HEAD_BYTES_MAX],
                        unsigned status,
                        const char *content_type,
                        size_t n_body) {
        int n;

        assert(content_type);

        n = snprintf(dest,
                     HTTP_ANSWER_HEAD_BYTES_MAX,
                     "HTTP/1.1 %u %s\r\n"
                     "Content-Type: %s\r\n"
                     "Content-Length: %zu\r\n"
                     "Cache-Control: no-store\r\n"
                     "%s"
                     "Connection: close\r\n\r\n",
                     status,
                     http_reason(status),
                     content_type,
                     n_body,
                     status == 405 ? "Allow: GET, HEAD\r\n" : "");
        assert(n > 0 && (unsigned) n < HTTP_ANSWER_HEAD_BYTES_MAX);
        return (size_t) n;
}
