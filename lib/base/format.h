/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Values as a person reads them; parse.h reads them back. All write into the caller's array, end in NUL, and
 * return it. */

#include "base/macro.h"
#include "base/time.h"

#define FORMAT_MAX 64u

char *format_bytes(char dest[static FORMAT_MAX], uint64_t n_bytes);       /* "1.5M" */
char *format_duration(char dest[static FORMAT_MAX], usec_t usec);         /* "1h 30min", "94us" */
char *format_time_ms(char dest[static FORMAT_MAX], int64_t ms);           /* "2026-11-20T10:00:00.000Z" */
char *format_id128(char dest[static FORMAT_MAX], const uint8_t id[static 16]); /* 32 hex digits */
/* "host:port", "[v6]:port" or "unix:/path" into a new string; NULL: no memory. */
struct address;
char *format_address(const struct address *a);

/* Base64 (RFC 4648, with padding). Encode returns a new string; decode -EINVAL on any foreign character. */
char *base64_encode(const void *p, size_t n);
int base64_decode(const char *s, size_t n, uint8_t **ret, size_t *ret_n);
