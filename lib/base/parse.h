/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a person typed, as values. strtol() and its kin live here only. All return 0 or: -EINVAL not of that form,
 * -ERANGE of the form but outside the range; ret_… is untouched then. Nothing around the value is accepted: no
 * spaces, no sign but where it has a meaning, no trailing text.
 */

#include "base/macro.h"
#include "base/time.h"

int parse_uint64(const char *s, uint64_t *ret);
int parse_int64(const char *s, int64_t *ret);
/* Range included on both sides. */
int parse_uint64_range(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
int parse_bool(const char *s, bool *ret); /* yes no true false on off 1 0 */

/* Bytes: "4096", "64K", "1M", "2G", "1T" (powers of 1024; an i or B or iB may follow). */
int parse_size(const char *s, uint64_t *ret_bytes);

/* A duration as systemd.time(7) writes it: "30s", "5min", "1h 30min", "100ms", "20us", "2d", "1w"; a bare number is
 * seconds; "1.5s" is allowed. */
int parse_duration(const char *s, usec_t *ret_usec);

/* A point in time, as milliseconds since 1970: "2026-11-20T10:00:00Z", with fraction, with "+01:00", a date alone,
 * "-1h" (relative to @now_ms), "now", or "@1700000000" (seconds, a fraction is allowed). */
int parse_time_ms(const char *s, int64_t now_ms, int64_t *ret_ms);

/* One address of a broker: "host", "host:port", "[::1]:port", "unix:/path". */
struct address {
        char *path; /* of a Unix socket, else NULL */
        char *host; /* else NULL */
        uint16_t port;
};

void address_done(struct address *a);
/* @default_port where none is given. Returns new strings in @ret; address_done() frees. -ENOMEM too. */
int parse_address(const char *s, uint16_t default_port, struct address *ret);

/* Comma-separated addresses: returns new array; address_array_free(). -EINVAL on an empty list. */
int parse_address_list(const char *s, uint16_t default_port, struct address **ret, size_t *ret_n);
struct address *address_array_free(struct address *a, size_t n);

/* C escapes in what a person typed: \n \t \0 \r \\ \a \e \xHH \NNN. Returns new bytes (a NUL follows them). */
int parse_escapes(const char *s, char **ret, size_t *ret_n);

/* Whether @s may name a topic: 1 to 249 of [a-zA-Z0-9._-], and neither "." nor "..". As Kafka has it. */
bool topic_name_is_valid(const char *s);
/* As a topic's, but without dots (so that dlq.<group>.<topic> is plain). */
bool group_name_is_valid(const char *s);
#define TOPIC_NAME_MAX 249u
