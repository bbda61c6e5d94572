/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ustar header block.
 *   off size  meaning                                     here
 *     0  100  name, ends in NUL unless it is that long
 *   100    8  mode, octal                                 0600
 *   108   16  owner and group, octal                      0
 *   124   12  size, octal
 *   136   12  modified, seconds since 1970, octal
 *   148    8  checksum: sum of all bytes, these as spaces
 *   156    1  type                                        '0', a regular file
 *   157  100  name of a link's target                     empty
 *   257    8  "ustar", NUL, "00" (GNU writes "ustar  ")
 *   265   80  names of owner and group, device numbers    empty
 *   345  155  prefix of the name                          empty
 */
#include "snapshot/tar.h"

#define SIZE_POS 124u
#define CHECKSUM_POS 148u
#define TYPE_POS 156u
#define LINK_POS 157u
#define MAGIC_POS 257u
#define PREFIX_POS 345u
#define PREFIX_BYTES 155u

static void put_octal(uint8_t *p, size_t n_digits, uint64_t v) {
        for (size_t i = n_digits; i-- > 0; v >>= 3)
                p[i] = (uint8_t) ('0' + (v & 7));
        p[n_digits] = 0;
}

/* Octal digits, perhaps with spaces before, and behind them, NULs and spaces. */
static bool get_octal(const uint8_t *p, size_t n, uint64_t *ret) {
        uint64_t v = 0;
        size_t i = 0;

        while (i < n && p[i] == ' ')
                i++;
        if (i == n || p[i] < '0' || p[i] > '7')
                return false;
        for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
                v = v << 3 | (uint64_t) (p[i] - '0'); /* at most 12 digits */
        for (; i < n; i++)
                if (p[i] != 0 && p[i] != ' ')
                        return false;

        *ret = v;
        return true;
}

static uint64_t checksum(const uint8_t *p) {
        uint64_t sum = 0;

        for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
                sum += i >= CHECKSUM_POS && i < CHECKSUM_POS + 8 ? ' ' : p[i];
        return sum;
}

static bool is_zero(const uint8_t *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (p[i] != 0)
                        return false;
        return true;
}

void tar_header_encode(const struct tar_member *m, uint8_t p[static TAR_BLOCK_BYTES]) {
        size_t n_name = strlen(m->name);

        assert(n_name > 0 && n_name <= TAR_NAME_MAX);
        assert(m->n_bytes <= TAR_FILE_BYTES_MAX);

        memset(p, 0, TAR_BLOCK_BYTES);
        memcpy(p, m->name, n_name);
        put_octal(p + 100, 7, 0600);
        put_octal(p + 108, 7, 0);
        put_octal(p + 116, 7, 0);
        put_octal(p + SIZE_POS, 11, m->n_bytes);
        put_octal(p + 136, 11, (uint64_t) MAX(m->modified_s, (int64_t) 0));
        p[TYPE_POS] = '0';
        memcpy(p + MAGIC_POS, "ustar\00000", 8);
        put_octal(p + CHECKSUM_POS, 6, checksum(p));
        p[CHECKSUM_POS + 7] = ' ';
}

int tar_header_decode(const uint8_t p[static TAR_BLOCK_BYTES], struct tar_member *ret) {
        size_t n_name = strnlen((const char *) p, TAR_NAME_MAX);
        uint64_t sum, n_bytes, modified;

        if (is_zero(p, TAR_BLOCK_BYTES))
                return 0;
        if (!get_octal(p + CHECKSUM_POS, 8, &sum) || sum != checksum(p))
                return -EBADMSG;
        if (memcmp(p + MAGIC_POS, "ustar\00000", 8) != 0 &&
            memcmp(p + MAGIC_POS, "ustar  ", 8) != 0)
                return -EBADMSG;
        if (p[TYPE_POS] != '0' || !is_zero(p + LINK_POS, 100) || n_name == 0 ||
            !is_zero(p + PREFIX_POS, PREFIX_BYTES))
                return -EBADMSG;
        if (!get_octal(p + SIZE_POS, 12, &n_bytes) || n_bytes > TAR_FILE_BYTES_MAX ||
            !get_octal(p + 136, 12, &modified))
                return -EBADMSG;

        memcpy(ret->name, p, n_name);
        ret->name[n_name] = 0;
        ret->n_bytes = n_bytes;
        ret->modified_s = (int64_t) modified;
        return 1;
}
