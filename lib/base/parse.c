/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Text of people to values.
 *
 * I1: what is returned was written by one assignment at the end: a failure leaves it alone.
 * I2: no sum or product of what was typed wraps: it is checked, or done in 128 bits.
 */

#include "base/parse.h"

#include <arpa/inet.h>
#include <strings.h>
#include <time.h>

#include "base/alloc.h"

#define HOST_MAX 255u
/* struct sockaddr_un has room for 108 bytes, with the NUL. */
#define UNIX_PATH_MAX 107u
/* Digits after the point that count; more are read and dropped. */
#define FRACTION_DIGITS 9u
#define FRACTION_UNITS 1000000000u

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads digits at *s and moves past them. -EINVAL without any; -ERANGE past 64 bits, the digits are
 * passed then too. */
static int read_digits(const char **s, uint64_t *ret) {
        bool too_large = false;
        uint64_t v = 0;

        if (!is_digit(**s))
                return -EINVAL;

        for (; is_digit(**s); (*s)++)
                too_large = too_large || __builtin_mul_overflow(v, (uint64_t) 10, &v) ||
                            __builtin_add_overflow(v, (uint64_t) (**s - '0'), &v);
        if (too_large)
                return -ERANGE;

        *ret = v;
        return 0;
}

/* Exactly @n digits. */
static int read_n_digits(const char **s, unsigned n, unsigned *ret) {
        unsigned v = 0;

        for (unsigned i = 0; i < n; i++, (*s)++) {
                if (!is_digit(**s))
                        return -EINVAL;
                v = v * 10 + (unsigned) (**s - '0');
        }

        *ret = v;
        return 0;
}

/* Digits, and maybe a point and digits: the fraction comes in billionths. *ret_has_fraction: a
 * point was there. */
static int
read_decimal(const char **s, uint64_t *ret, uint64_t *ret_billionths, bool *ret_has_fraction) {
        uint64_t v, fraction = 0, unit = FRACTION_UNITS / 10;
        bool has_fraction;
        int r;

        r = read_digits(s, &v);
        if (r == -EINVAL)
                return r;

        has_fraction = **s == '.';
        if (has_fraction) {
                (*s)++;
                if (!is_digit(**s))
                        return -EINVAL;
                for (; is_digit(**s); (*s)++, unit /= 10)
                        fraction += (uint64_t) (**s - '0') * unit;
        }
        if (r < 0)
                return r;

        *ret = v;
        *ret_billionths = fraction;
        *ret_has_fraction = has_fraction;
        return 0;
}

/* (@v + @billionths / 10^9) * @unit, rounded down. */
static unsigned __int128 scale(uint64_t v, uint64_t billionths, uint64_t unit) {
        return (unsigned __int128) v * unit +
               (unsigned __int128) billionths * unit / FRACTION_UNITS;
}

int parse_uint64(const char *s, uint64_t *ret) {
        uint64_t v;
        int r;

        assert(s);
        assert(ret);

        r = read_digits(&s, &v);
        if (*s)
                return -EINVAL;
        if (r < 0)
                return r;

        *ret = v;
        return 0;
}

int parse_int64(const char *s, int64_t *ret) {
        bool negative;
        uint64_t v;
        int r;

        assert(s);
        assert(ret);

        negative = *s == '-';
        r = parse_uint64(s + negative, &v);
        if (r < 0)
                return r;
        if (v > (uint64_t) INT64_MAX + negative)
                return -ERANGE;

        *ret = negative ? (int64_t) -v : (int64_t) v;
        return 0;
}

int parse_uint64_range(const char *s, uint64_t min, uint64_t max, uint64_t *ret) {
        uint64_t v;
        int r;

        assert(ret);

        r = parse_uint64(s, &v);
        if (r < 0)
                return r;
        if (v < min || v > max)
                return -ERANGE;

        *ret = v;
        return 0;
}

int parse_bool(const char *s, bool *ret) {
        static const char *const yes[] = { "yes", "true", "on", "1" };
        static const char *const no[] = { "no", "false", "off", "0" };

        assert(s);
        assert(ret);

        for (size_t i = 0; i < ELEMENTSOF(yes); i++)
                if (strcasecmp(s, yes[i]) == 0) {
                        *ret = true;
                        return 0;
                }
        for (size_t i = 0; i < ELEMENTSOF(no); i++)
                if (strcasecmp(s, no[i]) == 0) {
                        *ret = false;
                        return 0;
                }

        return -EINVAL;
}

int parse_size(const char *s, uint64_t *ret_bytes) {
        static const char prefixes[] = "KMGTPE";
        uint64_t v = 0, billionths = 0, unit = 1;
        bool has_fraction = false;
        unsigned __int128 n_bytes;
        int r;

        assert(s);
        assert(ret_bytes);

        r = read_decimal(&s, &v, &billionths, &has_fraction);
        if (r == -EINVAL)
                return r;

        for (size_t i = 0; prefixes[i]; i++)
                if (*s == prefixes[i] || *s == (prefixes[i] | 0x20)) {
                        unit = UINT64_C(1) << 10 * (i + 1);
                        s++;
                        if (*s == 'i')
                                s++;
                        break;
                }
        if (*s == 'B')
                s++;
        if (*s || (has_fraction && unit == 1))
                return -EINVAL;
        if (r < 0)
                return r;

        n_bytes = scale(v, billionths, unit);
        if (n_bytes > UINT64_MAX)
                return -ERANGE;

        *ret_bytes = (uint64_t) n_bytes;
        return 0;
}

static const struct {
        const char *name;
        uint64_t usec;
} duration_units[] = {
        { "us", 1 },
        { "usec", 1 },
        { "µs", 1 },
        { "ms", USEC_PER_MSEC },
        { "msec", USEC_PER_MSEC },
        { "s", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "seconds", USEC_PER_SEC },
        { "m", USEC_PER_MINUTE },
        { "min", USEC_PER_MINUTE },
        { "minute", USEC_PER_MINUTE },
        { "minutes", USEC_PER_MINUTE },
        { "h", USEC_PER_HOUR },
        { "hr", USEC_PER_HOUR },
        { "hour", USEC_PER_HOUR },
        { "hours", USEC_PER_HOUR },
        { "d", USEC_PER_DAY },
        { "day", USEC_PER_DAY },
        { "days", USEC_PER_DAY },
        { "w", 7 * USEC_PER_DAY },
        { "week", 7 * USEC_PER_DAY },
        { "weeks", 7 * USEC_PER_DAY },
};

/* Reads a unit's name at *s and moves past it. Return: its length in microseconds; 0: there is
 * none. */
static uint64_t read_unit(const char **s) {
        size_t n = 0;

        while ((*s)[n] && (*s)[n] != ' ' && !is_digit((*s)[n]))
                n++;

        for (size_t i = 0; i < ELEMENTSOF(duration_units); i++)
                if (n == strlen(duration_units[i].name) &&
                    memcmp(*s, duration_units[i].name, n) == 0) {
                        *s += n;
                        return duration_units[i].usec;
                }

        return 0;
}

int parse_duration(const char *s, usec_t *ret_usec) {
        unsigned __int128 sum = 0;
        bool too_large = false;

        assert(s);
        assert(ret_usec);

        for (unsigned n_parts = 0; n_parts == 0 || *s; n_parts++) {
                uint64_t v = 0, billionths = 0, unit;
                bool has_fraction;
                int r;

                r = read_decimal(&s, &v, &billionths, &has_fraction);
                if (r == -EINVAL)
                        return r;
                too_large = too_large || r < 0;

                if (!*s && n_parts == 0)
                        unit = USEC_PER_SEC;
                else {
                        while (*s == ' ')
                                s++;
                        unit = read_unit(&s);
                        if (unit == 0)
                                return -EINVAL;
                }

                sum += scale(v, billionths, unit);
                too_large = too_large || sum >= USEC_INFINITY;
                if (*s == ' ') {
                        while (*s == ' ')
                                s++;
                        if (!*s)
                                return -EINVAL;
                }
                if (too_large)
                        sum = 0; /* the form is still to be judged */
        }
        if (too_large)
                return -ERANGE;

        *ret_usec = (usec_t) sum;
        return 0;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar, years from 0. March begins the counted
 * year, so that the day that some years have more is its last one. */
static int64_t days_of_date(unsigned year, unsigned month, unsigned day) {
        int64_t y = (int64_t) year - (month <= 2);
        unsigned months_from_march = (month + 9) % 12;

        /* 153 days for five months: the lengths 31 30 31 30 31 */
        return 365 * y + y / 4 - y / 100 + y / 400 - (y < 0) + (153 * months_from_march + 2) / 5 +
               day - 1 - 719468;
}

static unsigned days_in_month(unsigned year, unsigned month) {
        static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

        return days[month - 1] + (month == 2 && leap);
}

struct wall_time {
        unsigned year, month, day, hour, minute, second;
        unsigned ms;
};

/* "YYYY-MM-DD", then maybe "T" or a space and "HH:MM", ":SS", ".fraction". */
static int read_wall_time(const char **s, struct wall_time *ret) {
        struct wall_time t = { 0 };
        int r;

        if (read_n_digits(s, 4, &t.year) < 0 || *(*s)++ != '-' ||
            read_n_digits(s, 2, &t.month) < 0 || *(*s)++ != '-' || read_n_digits(s, 2, &t.day) < 0)
                return -EINVAL;

        if (**s == 'T' || **s == ' ') {
                (*s)++;
                if (read_n_digits(s, 2, &t.hour) < 0 || *(*s)++ != ':' ||
                    read_n_digits(s, 2, &t.minute) < 0)
                        return -EINVAL;
                if (**s == ':') {
                        (*s)++;
                        r = read_n_digits(s, 2, &t.second);
                        if (r < 0)
                                return r;
                        if (**s == '.') {
                                unsigned unit = 100;

                                (*s)++;
                                if (!is_digit(**s))
                                        return -EINVAL;
                                for (; is_digit(**s); (*s)++, unit /= 10)
                                        t.ms += (unsigned) (**s - '0') * unit;
                        }
                }
        }

        *ret = t;
        return 0;
}

/* "", "Z", "+HH:MM", "-HH:MM" or without the colon. *ret_is_local: the empty one. */
static int read_zone(const char **s, bool *ret_is_local, int64_t *ret_offset_sec) {
        unsigned hours, minutes;
        int64_t sign;

        *ret_is_local = !**s;
        *ret_offset_sec = 0;
        if (!**s)
                return 0;
        if (**s == 'Z') {
                (*s)++;
                return 0;
        }
        if (**s != '+' && **s != '-')
                return -EINVAL;

        sign = *(*s)++ == '-' ? -1 : 1;
        if (read_n_digits(s, 2, &hours) < 0)
                return -EINVAL;
        if (**s == ':')
                (*s)++;
        if (read_n_digits(s, 2, &minutes) < 0)
                return -EINVAL;
        if (hours > 23 || minutes > 59)
                return -ERANGE;

        *ret_offset_sec = sign * (int64_t) (hours * 3600 + minutes * 60);
        return 0;
}

static int local_seconds(const struct wall_time *t, int64_t *ret) {
        struct tm tm = {
                .tm_year = (int) t->year - 1900,
                .tm_mon = (int) t->month - 1,
                .tm_mday = (int) t->day,
                .tm_hour = (int) t->hour,
                .tm_min = (int) t->minute,
                .tm_sec = (int) t->second,
                .tm_isdst = -1,
        };
        time_t sec;

        /* mktime(3): -1 is also the last second of 1969; on failure it does not write this. */
        tm.tm_wday = -1;
        sec = mktime(&tm);
        if (sec == (time_t) -1 && tm.tm_wday < 0)
                return -ERANGE;

        *ret = sec;
        return 0;
}

static int parse_calendar_ms(const char *s, int64_t *ret_ms) {
        struct wall_time t;
        int64_t offset_sec, sec;
        bool is_local;
        int r, zone_r;

        r = read_wall_time(&s, &t);
        if (r < 0)
                return r;
        zone_r = read_zone(&s, &is_local, &offset_sec);
        if (zone_r == -EINVAL || *s)
                return -EINVAL;
        /* Second 60 is a leap second: RFC 3339 section 5.6. */
        if (zone_r < 0 || t.month < 1 || t.month > 12 || t.day < 1 ||
            t.day > days_in_month(t.year, t.month) || t.hour > 23 || t.minute > 59 || t.second > 60)
                return -ERANGE;

        if (is_local) {
                r = local_seconds(&t, &sec);
                if (r < 0)
                        return r;
        } else
                sec = days_of_date(t.year, t.month, t.day) * 86400 + t.hour * 3600 + t.minute * 60 +
                      t.second - offset_sec;

        *ret_ms = sec * 1000 + t.ms;
        return 0;
}

int parse_time_ms(const char *s, int64_t now_ms, int64_t *ret_ms) {
        uint64_t v, billionths;
        unsigned __int128 ms;
        bool has_fraction;
        usec_t ago_usec;
        int r;

        assert(s);
        assert(ret_ms);

        if (streq(s, "now")) {
                *ret_ms = now_ms;
                return 0;
        }

        if (*s == '-') {
                r = parse_duration(s + 1, &ago_usec);
                if (r < 0)
                        return r;
                if (__builtin_sub_overflow(now_ms, (int64_t) (ago_usec / USEC_PER_MSEC), &now_ms))
                        return -ERANGE;
                *ret_ms = now_ms;
                return 0;
        }

        if (*s == '@') {
                s++;
                r = read_decimal(&s, &v, &billionths, &has_fraction);
                if (*s)
                        return -EINVAL;
                if (r < 0)
                        return r;
                ms = scale(v, billionths, 1000);
                if (ms > INT64_MAX)
                        return -ERANGE;
                *ret_ms = (int64_t) ms;
                return 0;
        }

        return parse_calendar_ms(s, ret_ms);
}

void address_done(struct address *a) {
        assert(a);

        mem_free(a->path);
        mem_free(a->host);
        *a = (struct address){ 0 };
}

static bool host_name_is_valid(const char *s, size_t n) {
        if (n == 0 || n > HOST_MAX)
                return false;
        for (size_t i = 0; i < n; i++)
                if (!is_letter(s[i]) && !is_digit(s[i]) && !strchr("-._", s[i]))
                        return false;
        return true;
}

/* An IPv6 address, maybe with "%interface" behind it. */
static bool ipv6_is_valid(const char *s, size_t n) {
        char text[INET6_ADDRSTRLEN];
        const char *scope = memchr(s, '%', n);
        size_t n_address = scope ? (size_t) (scope - s) : n;
        struct in6_addr in6;

        if (n_address >= sizeof(text) || n > HOST_MAX)
                return false;
        if (scope && !host_name_is_valid(scope + 1, n - n_address - 1))
                return false;

        memcpy(text, s, n_address);
        text[n_address] = 0;
        return inet_pton(AF_INET6, text, &in6) == 1;
}

/* "", or ":" and a port. */
static int parse_port(const char *s, uint16_t default_port, uint16_t *ret) {
        uint64_t port = default_port;
        int r;

        if (*s) {
                if (*s != ':')
                        return -EINVAL;
                r = parse_uint64_range(s + 1, 0, UINT16_MAX, &port);
                if (r < 0)
                        return r;
        }

        *ret = (uint16_t) port;
        return 0;
}

int parse_address(const char *s, uint16_t default_port, struct address *ret) {
        struct address a = { 0 };
        const char *host = s, *rest;
        int r;

        assert(s);
        assert(ret);

        if (strncmp(s, "unix:", 5) == 0) {
                s += 5;
                if (!*s)
                        return -EINVAL;
                if (strlen(s) > UNIX_PATH_MAX)
                        return -ERANGE;
                a.path = mem_strdup(s);
                if (!a.path)
                        return -ENOMEM;
                *ret = a;
                return 0;
        }

        if (*s == '[') {
                host = s + 1;
                rest = strchr(host, ']');
                if (!rest || !ipv6_is_valid(host, (size_t) (rest - host)))
                        return -EINVAL;
                r = parse_port(rest + 1, default_port, &a.port);
        } else {
                rest = strchrnul(host, ':');
                if (!host_name_is_valid(host, (size_t) (rest - host)))
                        return -EINVAL;
                r = parse_port(rest, default_port, &a.port);
        }
        if (r < 0)
                return r;

        a.host = mem_strndup(host, (size_t) (rest - host));
        if (!a.host)
                return -ENOMEM;

        *ret = a;
        return 0;
}

struct address *address_array_free(struct address *a, size_t n) {
        if (!a)
                return NULL;

        for (size_t i = 0; i < n; i++)
                address_done(&a[i]);
        return mem_free(a);
}

int parse_address_list(const char *s, uint16_t default_port, struct address **ret, size_t *ret_n) {
        struct address *addresses = NULL;
        size_t n = 0, n_allocated = 0;
        int r = 0;

        assert(s);
        assert(ret);
        assert(ret_n);

        for (;;) {
                const char *end = strchrnul(s, ',');
                _cleanup_(mem_freep) char *one = mem_strndup(s, (size_t) (end - s));

                if (!one || !grow(addresses, n_allocated, n + 1)) {
                        r = -ENOMEM;
                        break;
                }
                r = parse_address(one, default_port, &addresses[n]);
                if (r < 0)
                        break;
                n++;

                if (!*end)
                        break;
                s = end + 1;
        }
        if (r < 0) {
                address_array_free(addresses, n);
                return r;
        }

        *ret = addresses;
        *ret_n = n;
        return 0;
}

static int hex_value(char c) {
        if (is_digit(c))
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -EINVAL;
}

/* What stands behind a backslash at *s; moves past it. Return: the byte. */
static int read_escape(const char **s) {
        static const char names[] = "abefnrtv\\\"'", values[] = "\a\b\033\f\n\r\t\v\\\"'";
        const char *name;
        int high, low, v = 0;

        if (**s >= '0' && **s <= '7') {
                for (unsigned i = 0; i < 3 && **s >= '0' && **s <= '7'; i++, (*s)++)
                        v = v * 8 + (**s - '0');
                return v > 0xff ? -ERANGE : v;
        }

        if (**s == 'x') {
                high = hex_value((*s)[1]);
                if (high < 0)
                        return high;
                low = hex_value((*s)[2]);
                if (low < 0)
                        return low;
                *s += 3;
                return high * 16 + low;
        }

        name = **s ? strchr(names, **s) : NULL;
        if (!name)
                return -EINVAL;
        (*s)++;
        return (unsigned char) values[name - names];
}

int parse_escapes(const char *s, char **ret, size_t *ret_n) {
        _cleanup_(mem_freep) char *bytes = NULL;
        size_t n = 0;
        int r;

        assert(s);
        assert(ret);
        assert(ret_n);

        bytes = mem_alloc(strlen(s) + 1);
        if (!bytes)
                return -ENOMEM;

        while (*s)
                if (*s == '\\') {
                        s++;
                        r = read_escape(&s);
                        if (r < 0)
                                return r;
                        bytes[n++] = (char) r;
                } else
                        bytes[n++] = *s++;
        bytes[n] = 0;

        *ret = TAKE_PTR(bytes);
        *ret_n = n;
        return 0;
}

static bool name_is_valid(const char *s, const char *punctuation) {
        size_t n = 0;

        for (; s[n]; n++)
                if (n >= TOPIC_NAME_MAX ||
                    (!is_letter(s[n]) && !is_digit(s[n]) && !strchr(punctuation, s[n])))
                        return false;
        return n > 0;
}

bool topic_name_is_valid(const char *s) {
        assert(s);

        return name_is_valid(s, "._-") && !streq(s, ".") && !streq(s, "..");
}

bool group_name_is_valid(const char *s) {
        assert(s);

        return name_is_valid(s, "_-");
}
