/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Values to text of people.
 *
 * I1: what is written fits in FORMAT_MAX for every value.
 */

#include "base/format.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/parse.h"

char *format_bytes(char dest[static FORMAT_MAX], uint64_t n_bytes) {
        static const char prefixes[] = "BKMGTPE";
        uint64_t tenths;
        unsigned i = 0;

        if (n_bytes < 1024) {
                (void) snprintf(dest, FORMAT_MAX, "%lluB", (unsigned long long) n_bytes);
                return dest;
        }

        /* Rounding may lift a value to the next unit: 1023.96K is 1M. */
        do {
                unsigned __int128 unit = (unsigned __int128) 1 << 10 * ++i;

                tenths = (uint64_t) (((unsigned __int128) n_bytes * 10 + unit / 2) / unit);
        } while (tenths >= 10240 && prefixes[i + 1]);

        if (tenths % 10 == 0)
                (void) snprintf(
                        dest, FORMAT_MAX, "%llu%c", (unsigned long long) tenths / 10, prefixes[i]);
        else
                (void) snprintf(dest,
                                FORMAT_MAX,
                                "%llu.%llu%c",
                                (unsigned long long) tenths / 10,
                                (unsigned long long) tenths % 10,
                                prefixes[i]);
        return dest;
}

/* "N.fffuuu" without the zeros at its end. Return: characters written. */
static size_t
format_fraction(char *dest, size_t size, uint64_t v, uint64_t unit_usec, const char *name) {
        char digits[8];
        unsigned n_digits = unit_usec == USEC_PER_SEC ? 6 : unit_usec == USEC_PER_MSEC ? 3 : 0;
        int n;

        (void) snprintf(digits,
                        sizeof(digits),
                        "%0*u",
                        (int) MAX(n_digits, 1u),
                        (unsigned) (v % unit_usec));
        while (n_digits > 0 && digits[n_digits - 1] == '0')
                n_digits--;
        digits[n_digits] = 0;

        n = snprintf(dest,
                     size,
                     "%llu%s%s%s",
                     (unsigned long long) (v / unit_usec),
                     n_digits > 0 ? "." : "",
                     digits,
                     name);
        return (size_t) n;
}

char *format_duration(char dest[static FORMAT_MAX], usec_t usec) {
        static const struct {
                uint64_t usec;
                const char *name;
        } units[] = {
                { USEC_PER_DAY, "d" },
                { USEC_PER_HOUR, "h" },
                { USEC_PER_MINUTE, "min" },
        };
        size_t n = 0;

        if (usec == USEC_INFINITY)
                return strcpy(dest, "infinity");
        if (usec == 0)
                return strcpy(dest, "0s");

        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                if (usec < units[i].usec)
                        continue;
                n += (size_t) snprintf(dest + n,
                                       FORMAT_MAX - n,
                                       "%s%llu%s",
                                       n > 0 ? " " : "",
                                       (unsigned long long) (usec / units[i].usec),
                                       units[i].name);
                usec %= units[i].usec;
        }
        if (usec == 0)
                return dest;

        if (n > 0)
                dest[n++] = ' ';
        if (usec >= USEC_PER_SEC)
                n += format_fraction(dest + n, FORMAT_MAX - n, usec, USEC_PER_SEC, "s");
        else if (usec >= USEC_PER_MSEC)
                n += format_fraction(dest + n, FORMAT_MAX - n, usec, USEC_PER_MSEC, "ms");
        else
                n += format_fraction(dest + n, FORMAT_MAX - n, usec, 1, "us");
        assert(n < FORMAT_MAX); /* I1 */
        return dest;
}

char *format_time_ms(char dest[static FORMAT_MAX], int64_t ms) {
        int64_t sec = ms / 1000, ms_left = ms % 1000, days, day_sec, era, year;
        unsigned day_of_era, year_of_era, day_of_year, month, day;

        /* Divisions that round down, also before 1970. */
        if (ms_left < 0) {
                ms_left += 1000;
                sec--;
        }
        days = sec / 86400;
        day_sec = sec % 86400;
        if (day_sec < 0) {
                day_sec += 86400;
                days--;
        }

        /* The Gregorian calendar repeats every 400 years, an era of 146097 days. A counted year
         * begins in March, so that the day that some years have more is its last one; 719468 days
         * lie between 0000-03-01 and 1970. */
        days += 719468;
        era = (days >= 0 ? days : days - 146096) / 146097;
        day_of_era = (unsigned) (days - era * 146097);
        year_of_era =
                (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        month = (5 * day_of_year + 2) / 153; /* from March */
        day = day_of_year - (153 * month + 2) / 5 + 1;
        month = month < 10 ? month + 3 : month - 9;
        year = era * 400 + year_of_era + (month <= 2);

        (void) snprintf(dest,
                        FORMAT_MAX,
                        "%04lld-%02u-%02uT%02u:%02u:%02u.%03uZ",
                        (long long) year,
                        month,
                        day,
                        (unsigned) (day_sec / 3600),
                        (unsigned) (day_sec / 60 % 60),
                        (unsigned) (day_sec % 60),
                        (unsigned) ms_left);
        return dest;
}

char *format_id128(char dest[static FORMAT_MAX], const uint8_t id[static 16]) {
        for (size_t i = 0; i < 16; i++)
                (void) snprintf(dest + 2 * i, 3, "%02x", id[i]);
        return dest;
}

char *format_address(const struct address *a) {
        assert(a);
        assert(a->path || a->host);

        if (a->path)
                return mem_asprintf("unix:%s", a->path);
        if (strchr(a->host, ':'))
                return mem_asprintf("[%s]:%u", a->host, a->port);
        return mem_asprintf("%s:%u", a->host, a->port);
}

static const char base64_digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *p, size_t n) {
        const uint8_t *bytes = p;
        size_t n_text = 0, n_groups = n / 3 + (n % 3 > 0);
        char *text;

        assert(p || n == 0);

        if (n_groups > (SIZE_MAX - 1) / 4)
                return NULL;
        text = mem_alloc(4 * n_groups + 1);
        if (!text)
                return NULL;

        for (size_t i = 0; i < n; i += 3) {
                uint32_t group = (uint32_t) bytes[i] << 16;

                if (i + 1 < n)
                        group |= (uint32_t) bytes[i + 1] << 8;
                if (i + 2 < n)
                        group |= bytes[i + 2];

                text[n_text++] = base64_digits[group >> 18];
                text[n_text++] = base64_digits[group >> 12 & 63];
                text[n_text++] = i + 1 < n ? base64_digits[group >> 6 & 63] : '=';
                text[n_text++] = i + 2 < n ? base64_digits[group & 63] : '=';
        }

        text[n_text] = 0;
        return text;
}

static int base64_value(char c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        if (c == '+')
                return 62;
        if (c == '/')
                return 63;
        return -EINVAL;
}

int base64_decode(const char *s, size_t n, uint8_t **ret, size_t *ret_n) {
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        size_t n_bytes = 0, n_padding = 0;

        assert(s || n == 0);
        assert(ret);
        assert(ret_n);

        if (n % 4 != 0)
                return -EINVAL;
        while (n_padding < 2 && n_padding < n && s[n - 1 - n_padding] == '=')
                n_padding++;

        bytes = mem_alloc(n / 4 * 3 + 1);
        if (!bytes)
                return -ENOMEM;

        for (size_t i = 0; i < n; i += 4) {
                unsigned n_digits = i + 4 == n ? 4 - (unsigned) n_padding : 4;
                uint32_t group = 0;

                for (unsigned k = 0; k < 4; k++) {
                        int v = k < n_digits ? base64_value(s[i + k]) : 0;

                        if (v < 0)
                                return v;
                        group = group << 6 | (uint32_t) v;
                }
                if ((n_digits == 2 && group & 0xffff) || (n_digits == 3 && group & 0xff))
                        return -EINVAL;

                for (unsigned k = 0; k + 1 < n_digits; k++)
                        bytes[n_bytes++] = (uint8_t) (group >> (16 - 8 * k));
        }

        bytes[n_bytes] = 0;
        *ret = TAKE_PTR(bytes);
        *ret_n = n_bytes;
        return 0;
}
