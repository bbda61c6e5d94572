/* SPDX-License-Identifier: Apache-2.0 */

/* Tests drmqd/core/http.h: what is a request, when it is whole, and what is answered to one that is
 * not as it should be. */

#include "drmqd/core/http.h"
#include "tests/lib/test.h"

/* Parses what must be whole. */
static struct http_request parse(const char *s) {
        struct http_request q;

        ASSERT_EQ(http_parse(s, strlen(s), &q), 1);
        return q;
}

static unsigned status_of(const char *s) {
        return parse(s).status;
}

TEST(methods_that_are_known_are_http_and_nothing_else_is) {
        static const char *const known[] = { "GET /", "HEAD /", "POST /", "PUT /", "DELETE /" };
        static const char *const others[] = { "DRMQ\1\1", "get /",    "GETX",
                                              "SSH-",     "\0\0\0\0", "GE T" };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                ASSERT_TRUE(http_is_request((const uint8_t *) known[i]));
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                ASSERT_FALSE(http_is_request((const uint8_t *) others[i]));
}

TEST(a_request_has_a_method_and_a_path) {
        struct http_request q = parse("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");

        ASSERT_EQ(q.status, 0);
        ASSERT_EQ(q.method, HTTP_GET);
        ASSERT_TRUE(http_path_is(&q, "/metrics"));
        ASSERT_FALSE(http_path_is(&q, "/metric"));
        ASSERT_FALSE(http_path_is(&q, "/metricss"));

        q = parse("HEAD /health HTTP/1.0\r\n\r\n");
        ASSERT_EQ(q.status, 0);
        ASSERT_EQ(q.method, HTTP_HEAD);
        ASSERT_TRUE(http_path_is(&q, "/health"));
}

TEST(lines_may_end_without_carriage_return) {
        ASSERT_EQ(status_of("GET / HTTP/1.1\nHost: a\n\n"), 0);
}

TEST(query_and_host_are_not_of_the_path) {
        struct http_request q = parse("GET /metrics?x=/health HTTP/1.1\r\n\r\n");

        ASSERT_TRUE(http_path_is(&q, "/metrics"));
        q = parse("GET http://example.org:9092/metrics?x HTTP/1.1\r\n\r\n");
        ASSERT_EQ(q.status, 0);
        ASSERT_TRUE(http_path_is(&q, "/metrics"));
        q = parse("GET http://example.org HTTP/1.1\r\n\r\n");
        ASSERT_EQ(q.status, 0);
        ASSERT_TRUE(http_path_is(&q, "/"));
        q = parse("GET * HTTP/1.1\r\n\r\n");
        ASSERT_EQ(q.status, 0);
        ASSERT_TRUE(http_path_is(&q, "*"));
}

TEST(a_request_is_whole_with_its_empty_line_and_not_before) {
        const char text[] = "GET /metrics HTTP/1.1\r\nHost: example.org\r\n\r\n";
        struct http_request q;

        for (size_t n = 0; n < strlen(text); n++)
                ASSERT_EQ(http_parse(text, n, &q), 0);
        ASSERT_EQ(http_parse(text, strlen(text), &q), 1);
        ASSERT_EQ(http_parse(NULL, 0, &q), 0);
}

TEST(what_follows_the_head_does_not_matter) {
        struct http_request q = parse("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nbroken");

        ASSERT_EQ(q.status, 0);
        ASSERT_TRUE(http_path_is(&q, "/a"));
}

TEST(other_methods_are_405) {
        ASSERT_EQ(status_of("POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"), 405);
        ASSERT_EQ(status_of("GETS /metrics HTTP/1.1\r\n\r\n"), 405);
}

TEST(other_versions_are_505) {
        ASSERT_EQ(status_of("GET / HTTP/2.0\r\n\r\n"), 505);
        ASSERT_EQ(status_of("GET / HTTP/0.9\r\n\r\n"), 505);
        ASSERT_EQ(status_of("GET / HTTP/1.9\r\n\r\n"), 0);
}

TEST(what_is_not_of_the_grammar_is_400) {
        static const char *const lines[] = {
                "GET /\r\n\r\n",
                "GET / http/1.1\r\n\r\n",
                "GET / HTTP/1.1 \r\n\r\n",
                "GET / HTTP/11\r\n\r\n",
                "GET / HTTP/1.10\r\n\r\n",
                "GET  / HTTP/1.1\r\n\r\n",
                "GET /a b HTTP/1.1\r\n\r\n",
                "GET metrics HTTP/1.1\r\n\r\n",
                "GET /\t HTTP/1.1\r\n\r\n",
                "GET /\303\244 HTTP/1.1\r\n\r\n",
                "G(T / HTTP/1.1\r\n\r\n",
                " GET / HTTP/1.1\r\n\r\n",
                "GET / HTTP/1.1\r\nNo colon\r\n\r\n",
                "GET / HTTP/1.1\r\n: no name\r\n\r\n",
                "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: \001\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: \177\r\n\r\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
                struct http_request q = parse(lines[i]);

                if (q.status != 400)
                        test_fail(__FILE__, __LINE__, "%s: %u", lines[i], q.status);
        }
}

TEST(a_nul_is_400_wherever_it_stands) {
        const char text[] = "GET /m HTTP/1.1\r\nHost: a\r\n\r\n";

        for (size_t i = 0; i < strlen(text) - 1; i++) {
                struct http_request q;
                char copy[sizeof(text)];

                memcpy(copy, text, sizeof(text));
                copy[i] = 0;
                if (http_parse(copy, strlen(text), &q) == 1)
                        ASSERT_EQ(q.status, 400);
                else
                        ASSERT_GE(i, strlen(text) - 3); /* it was of the empty line */
        }
}

TEST(a_head_over_the_limit_is_431) {
        static char text[HTTP_HEAD_BYTES_MAX + 100];
        struct http_request q;

        memset(text, 'a', sizeof(text));
        memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
        ASSERT_EQ(http_parse(text, HTTP_HEAD_BYTES_MAX - 1, &q), 0);
        ASSERT_EQ(http_parse(text, HTTP_HEAD_BYTES_MAX, &q), 1);
        ASSERT_EQ(q.status, 431);

        /* as much as may be */
        memcpy(text + HTTP_HEAD_BYTES_MAX - 4, "\r\n\r\n", 4);
        ASSERT_EQ(http_parse(text, HTTP_HEAD_BYTES_MAX, &q), 1);
        ASSERT_EQ(q.status, 0);

        /* one more */
        memcpy(text + HTTP_HEAD_BYTES_MAX - 4, "a\r\n\r\n", 5);
        ASSERT_EQ(http_parse(text, HTTP_HEAD_BYTES_MAX + 1, &q), 1);
        ASSERT_EQ(q.status, 431);
}

TEST(every_answer_has_a_length_and_ends_the_connection) {
        static const unsigned statuses[] = { 200, 400, 404, 405, 431, 503, 505 };

        for (size_t i = 0; i < ELEMENTSOF(statuses); i++) {
                char head[HTTP_ANSWER_HEAD_BYTES_MAX + 1], first[64];
                size_t n = http_answer_head(
                        head, statuses[i], "text/plain; version=0.0.4; charset=utf-8", SIZE_MAX);

                head[n] = 0;
                ASSERT_EQ(strlen(head), n);
                snprintf(first,
                         sizeof(first),
                         "HTTP/1.1 %u %s\r\n",
                         statuses[i],
                         http_reason(statuses[i]));
                ASSERT_MEM(head, first, strlen(first));
                ASSERT_NOT_NULL(strstr(head, "\r\nContent-Length: 18446744073709551615\r\n"));
                ASSERT_NOT_NULL(strstr(head, "\r\nConnection: close\r\n"));
                ASSERT_EQ(strstr(head, "\r\nAllow: GET, HEAD\r\n") != NULL, statuses[i] == 405);
                ASSERT_STREQ(head + n - 4, "\r\n\r\n");
        }
        ASSERT_STREQ(http_reason(999), "Unknown");
}
