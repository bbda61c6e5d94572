/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Values as a person reads them; parse.h reads them back. The first four write into the caller's
 * array, end in NUL, and return it. */

#include "base/macro.h"
#include "base/time.h"

#define FORMAT_MAX 64u

/* "512B", "1.5M", "20G": powers of 1024, rounded to one digit after the point. */
char *format_bytes(char dest[static FORMAT_MAX], uint64_t n_bytes);
/* "94us", "1.234ms", "1.5s", "1h 30min", "2d": exact, zero is "0s", USEC_INFINITY "infinity". */
char *format_duration(char dest[static FORMAT_MAX], usec_t usec);
/* Milliseconds since 1970 in UTC: "2026-11-20T10:00:00.000Z". */
char *format_time_ms(char dest[static FORMAT_MAX], int64_t ms);
/* 32 hex digits. */
char *format_id128(char dest[static FORMAT_MAX], const uint8_t id[static 16]);

/* "host:port", "[v6]:port" or "unix:/path" as a new string; NULL: no memory. */
struct address;
char *format_address(const struct address *a);

/* Base64 (RFC 4648 section 4, with padding, no line breaks). Returns a new string; NULL: no
 * memory. */
char *base64_encode(const void *p, size_t n);
/* @n characters at @s. Returns new bytes (a NUL follows them). -EINVAL on any foreign character, on
 * missing padding, and where the last character has bits that say nothing; -ENOMEM. */
int base64_decode(const char *s, size_t n, uint8_t **ret, size_t *ret_n);
