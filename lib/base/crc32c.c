/* SPDX-License-Identifier: Apache-2.0 */

/*
 * CRC-32C, by the SSE4.2 instruction or by tables. Not for other polynomials.
 *
 * In the text below a checksum register is a polynomial over GF(2) of degree < 32 (bit 31 holds
 * x^0: reflected), and P is Castagnoli's. Bytes are worked into a register without the inversion at
 * both ends; crc32c() adds that.
 *
 * I1: the register after bytes A and B is (register after A, moved past B: times x^(8|B|) mod P)
 *     xor (register of B alone, begun at 0). So several stretches can be worked at the same time
 *     and joined at the end.
 * I2: both ways give the same for all input (tests/unit/test-crc32c.c).
 */

#include "base/crc32c.h"

#include <threads.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/bytes.h"

#define POLYNOMIAL_REFLECTED UINT32_C(0x82f63b78)

/* tables[k][b]: the register of byte b followed by k zero bytes. */
static uint32_t tables[8][256];
static once_flag tables_made = ONCE_FLAG_INIT;

static void make_tables(void) {
        for (uint32_t b = 0; b < 256; b++) {
                uint32_t c = b;

                for (unsigned bit = 0; bit < 8; bit++)
                        c = c & 1 ? c >> 1 ^ POLYNOMIAL_REFLECTED : c >> 1;
                tables[0][b] = c;
        }

        for (unsigned k = 1; k < 8; k++)
                for (uint32_t b = 0; b < 256; b++) {
                        uint32_t before = tables[k - 1][b];

                        tables[k][b] = before >> 8 ^ tables[0][before & 0xff];
                }
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n) {
        const uint8_t *bytes = p;
        uint32_t c = ~crc;

        assert(p || n == 0);

        call_once(&tables_made, make_tables);

        for (; n >= 8; n -= 8, bytes += 8) {
                uint64_t w = le64_load(bytes) ^ c;

                c = tables[7][w & 0xff] ^ tables[6][w >> 8 & 0xff] ^ tables[5][w >> 16 & 0xff] ^
                    tables[4][w >> 24 & 0xff] ^ tables[3][w >> 32 & 0xff] ^
                    tables[2][w >> 40 & 0xff] ^ tables[1][w >> 48 & 0xff] ^ tables[0][w >> 56];
        }
        for (; n > 0; n--, bytes++)
                c = c >> 8 ^ tables[0][(c ^ *bytes) & 0xff];

        return ~c;
}

#if defined(__x86_64__)

#define _hardware_ __attribute__((target("sse4.2,pclmul")))

/*
 * The instruction has a latency of three cycles and can begin every cycle: three stretches are
 * worked in turn, and joined by I1. To move a register past n bytes, the carry-less product with
 * x^(8n-33) mod P is worked into an empty register: reflection makes the product one x short, the
 * instruction multiplies by x^32.
 *
 * Long stretches spread the cost of joining, short ones serve what is left, and small batches.
 */
#define LONG_BYTES 2048u
#define SHORT_BYTES 128u

static const uint32_t past_long = 0xa51b6135;      /* x^(8 * 2048 - 33) mod P, reflected */
static const uint32_t past_two_long = 0x82f89c77;  /* x^(16 * 2048 - 33) */
static const uint32_t past_short = 0x0d3b6092;     /* x^(8 * 128 - 33) */
static const uint32_t past_two_short = 0xb9e02b86; /* x^(16 * 128 - 33) */

static inline _hardware_ uint64_t carryless_product(uint32_t a, uint32_t b) {
        return (uint64_t) _mm_cvtsi128_si64(
                _mm_clmulepi64_si128(_mm_cvtsi32_si128((int) a), _mm_cvtsi32_si128((int) b), 0));
}

/* Three stretches of @n_stretch bytes (a multiple of 8) at @p. */
static inline __attribute__((always_inline)) _hardware_ uint32_t three_stretches(
        uint32_t crc, const uint8_t *p, size_t n_stretch, uint32_t past_one, uint32_t past_two) {

        uint64_t c0 = crc, c1 = 0, c2 = 0;

        for (const uint8_t *end = p + n_stretch; p < end; p += 8) {
                c0 = _mm_crc32_u64(c0, le64_load(p));
                c1 = _mm_crc32_u64(c1, le64_load(p + n_stretch));
                c2 = _mm_crc32_u64(c2, le64_load(p + 2 * n_stretch));
        }

        return (uint32_t) (_mm_crc32_u64(0,
                                         carryless_product((uint32_t) c0, past_two) ^
                                                 carryless_product((uint32_t) c1, past_one)) ^
                           c2);
}

_hardware_ uint32_t crc32c_hardware(uint32_t crc, const void *p, size_t n) {
        const uint8_t *bytes = p;
        uint32_t c = ~crc;

        assert(p || n == 0);

        for (; n >= 3 * LONG_BYTES; n -= 3 * LONG_BYTES, bytes += 3 * LONG_BYTES)
                c = three_stretches(c, bytes, LONG_BYTES, past_long, past_two_long);
        for (; n >= 3 * SHORT_BYTES; n -= 3 * SHORT_BYTES, bytes += 3 * SHORT_BYTES)
                c = three_stretches(c, bytes, SHORT_BYTES, past_short, past_two_short);
        for (; n >= 8; n -= 8, bytes += 8)
                c = (uint32_t) _mm_crc32_u64(c, le64_load(bytes));
        for (; n > 0; n--, bytes++)
                c = _mm_crc32_u8(c, *bytes);

        return ~c;
}

bool crc32c_has_hardware(void) {
        return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#else

uint32_t crc32c_hardware(uint32_t crc, const void *p, size_t n) {
        return crc32c_portable(crc, p, n);
}

bool crc32c_has_hardware(void) {
        return false;
}

#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n) {
        return crc32c_has_hardware() ? crc32c_hardware(crc, p, n) : crc32c_portable(crc, p, n);
}
