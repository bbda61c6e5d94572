/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a person typed, as values. Numbers are read here only, by hand: no locale, no overflow. All
 * return 0 or: -EINVAL not of that form, -ERANGE of the form but outside the range; ret_… is
 * untouched then. Nothing around the value is accepted: no spaces, no sign but where it has a
 * meaning, no trailing text.
 */

#include "base/macro.h"
#include "base/time.h"

/* Decimal digits; for parse_int64() after a '-' too. */
int parse_uint64(const char *s, uint64_t *ret);
int parse_int64(const char *s, int64_t *ret);
/* Range included on both sides. */
int parse_uint64_range(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
/* yes no true false on off 1 0, in either case. */
int parse_bool(const char *s, bool *ret);

/* Bytes: "4096", "64K", "1.5M", "2G", "1T", "1P", "1E" (powers of 1024, in either case; "B" or "iB"
 * may follow, "B" alone is bytes). A fraction needs a unit; what is left of it below a byte is
 * dropped. */
int parse_size(const char *s, uint64_t *ret_bytes);

/* A duration as systemd.time(7) writes it: "30s", "5min", "1h 30min", "100ms", "20us", "2d", "1w",
 * and the long names; a bare number is seconds; "1.5s" is allowed. -ERANGE: USEC_INFINITY or
 * more. */
int parse_duration(const char *s, usec_t *ret_usec);

/* A point in time, as milliseconds since 1970: "2026-11-20T10:00:00Z", with fraction, with
 * "+01:00", without seconds, with a space for the T, a date alone (its midnight); without a zone it
 * is local time. Or "-1h" (relative to @now_ms), "now", or "@1700000000" (seconds, a fraction is
 * allowed). */
int parse_time_ms(const char *s, int64_t now_ms, int64_t *ret_ms);

/* One address of a broker: "host", "host:port", "[::1]", "[::1]:port", "unix:/path". Host names are
 * not looked up here. */
struct address {
        char *path; /* of a Unix socket, else NULL */
        char *host; /* else NULL */
        uint16_t port;
};

/* Frees the strings; @a is empty then. */
void address_done(struct address *a);
/* @default_port where none is given; port 0 is let through (a listener's "any"). Returns new
 * strings in @ret; address_done() frees. -ENOMEM too. */
int parse_address(const char *s, uint16_t default_port, struct address *ret);

/* Comma-separated addresses: returns new array; address_array_free(). -EINVAL on an empty list or
 * part. */
int parse_address_list(const char *s, uint16_t default_port, struct address **ret, size_t *ret_n);
struct address *address_array_free(struct address *a, size_t n);

/* C escapes in what a person typed: \a \b \e \f \n \r \t \v \\ \" \' \xHH and \N to \NNN (octal, so
 * \0 too). Returns new bytes (a NUL follows them). -EINVAL on any other, -ERANGE on \400 and up,
 * -ENOMEM. */
int parse_escapes(const char *s, char **ret, size_t *ret_n);

/* Whether @s may name a topic: 1 to 249 of [a-zA-Z0-9._-], and neither "." nor "..". As Kafka has
 * it. */
bool topic_name_is_valid(const char *s);
/* As a topic's, but without dots (so that dlq.<group>.<topic> is plain). */
bool group_name_is_valid(const char *s);
#define TOPIC_NAME_MAX 249u
