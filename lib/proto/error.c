/* SPDX-License-Identifier: Apache-2.0 */

/* The one place where wire codes and errnos meet. */

#include "proto/error.h"

struct error_info {
        const char *name;
        const char *text;
        int error; /* positive; 0 for NONE */
        bool is_retriable;
};

static const struct error_info error_table[] = {
#define DRMQ_ERROR_ROW(code, id, errno_value, retriable, words)                                    \
        [code] = { .name = #id, .text = words, .error = errno_value, .is_retriable = retriable },
        DRMQ_ERROR_TABLE(DRMQ_ERROR_ROW)
#undef DRMQ_ERROR_ROW
};
static_assert(ELEMENTSOF(error_table) == _DRMQ_ERROR_MAX, "codes are dense");

static const struct error_info *error_find(uint32_t code) {
        return code < ELEMENTSOF(error_table) ? &error_table[code] : NULL;
}

const char *drmq_error_name(uint32_t code) {
        const struct error_info *e = error_find(code);

        return e ? e->name : "UNKNOWN";
}

const char *drmq_error_text(uint32_t code) {
        const struct error_info *e = error_find(code);

        return e ? e->text : "an error that this build does not know";
}

bool drmq_error_is_retriable(uint32_t code) {
        const struct error_info *e = error_find(code);

        return e && e->is_retriable;
}

int drmq_error_to_errno(uint32_t code) {
        const struct error_info *e = error_find(code);

        return e ? -e->error : -EIO;
}

enum drmq_error drmq_error_from_errno(int error) {
        switch (error < 0 ? -error : error) {
        case 0:
                return DRMQ_ERROR_NONE;

        /* Several codes have these; what the core's own calls mean by them. */
        case EINVAL:
                return DRMQ_ERROR_INVALID_ARGUMENT;
        case EAGAIN:
                return DRMQ_ERROR_BUSY;
        case ESTALE:
                return DRMQ_ERROR_NOT_LEADER;
        case EOPNOTSUPP:
                return DRMQ_ERROR_UNKNOWN_CODEC;
        case EIO:
                return DRMQ_ERROR_INTERNAL;
        case EACCES:
                return DRMQ_ERROR_NOT_PERMITTED;

        default:
                for (size_t i = 0; i < ELEMENTSOF(error_table); i++)
                        if (error_table[i].error == (error < 0 ? -error : error))
                                return (enum drmq_error) i;
                return DRMQ_ERROR_INTERNAL;
        }
}
