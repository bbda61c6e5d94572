/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * CRC-32C (Castagnoli, reflected, RFC 3720 appendix B.4). By the processor's instruction where it
 * has one, else by tables; both are tested against the same vectors.
 */

#include "base/macro.h"

/* The checksum of @n bytes at @p that follow bytes whose checksum is @crc; 0 to begin. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* The two ways by themselves, for tests and benchmarks. crc32c_hardware() only where
 * crc32c_has_hardware(). */
bool crc32c_has_hardware(void);
uint32_t crc32c_hardware(uint32_t crc, const void *p, size_t n);
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);
