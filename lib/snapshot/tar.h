/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The part of POSIX ustar (IEEE Std 1003.1, pax, "ustar Interchange Format") that an archive needs:
 * regular files with short names. What is written, every tar reads. What is read is that much and
 * no more: links, devices, folders and extended headers are refused, so nothing of an archive
 * reaches a file system but bytes of files.
 */

#include "base/macro.h"

#define TAR_BLOCK_BYTES 512u
#define TAR_NAME_MAX 100u
/* Eleven octal digits. */
#define TAR_FILE_BYTES_MAX ((UINT64_C(1) << 33) - 1)

struct tar_member {
        char name[TAR_NAME_MAX + 1];
        uint64_t n_bytes;
        int64_t modified_s;
};

/* Mode 0600, owner 0. @m: name of 1 to TAR_NAME_MAX bytes, size up to TAR_FILE_BYTES_MAX. */
void tar_header_encode(const struct tar_member *m, uint8_t p[static TAR_BLOCK_BYTES]);
/* Return: 1; 0 a block of zeroes: the end; -EBADMSG not a header, its checksum is wrong, or what it
 * is of is no regular file. */
int tar_header_decode(const uint8_t p[static TAR_BLOCK_BYTES], struct tar_member *ret);
/* A file takes whole blocks. */
static inline uint64_t tar_padded_bytes(uint64_t n_bytes) {
        return ALIGN_TO(n_bytes, TAR_BLOCK_BYTES);
}
