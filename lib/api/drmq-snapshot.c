/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots of a node: made, listed, read, deleted. Each function is a call or a few. */

#include <inttypes.h>
#include <stdio.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/format.h"

#define CHUNK_BYTES (UINT32_C(2) << 20)
#define NAME_MAX_BYTES 64u

static int no_memory(drmq_client *c) {
        client_say(c, "out of memory");
        return -ENOMEM;
}

static int no_sense(drmq_client *c) {
        client_say(c, "the node's answer makes no sense");
        return -EPROTO;
}

static int check_name(drmq_client *c, const char *name) {
        if (name && name[0] && strlen(name) <= NAME_MAX_BYTES)
                return 0; /* the node knows the rest */

        client_say(c, "\"%.100s\" is not a valid name of a snapshot", name ?: "");
        return -EINVAL;
}

static int
take_snapshot(drmq_client *c, const Drmq__Proto__Snapshot *s, struct drmq_snapshot_info *info) {
        *info = (struct drmq_snapshot_info){
                .name = client_keep_string(c, s->name),
                .created_ms = s->created_ms,
                .n_files = s->n_files,
                .n_bytes = s->n_bytes,
                .pinned_bytes = s->pinned_bytes,
                .is_temporary = s->is_temporary,
                .is_damaged = s->is_damaged,
        };
        return info->name ? 0 : no_memory(c);
}

struct snapshots {
        drmq_client *client;
        struct drmq_snapshot_info *infos;
        size_t n;
};

static int on_created(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__SnapshotCreateResponse *m = (const void *) answer;
        struct snapshots *s = userdata;

        if (r < 0)
                return r;
        if (!m->snapshot)
                return no_sense(s->client);

        s->infos = client_keep(s->client, sizeof(s->infos[0]));
        return s->infos ? take_snapshot(s->client, m->snapshot, s->infos) : no_memory(s->client);
}

/* "2026-11-20T10:00:00.000Z" -> "20261120T100000Z", and something that nobody else has. */
static void make_name(drmq_client *c, char dest[static FORMAT_MAX]) {
        char text[FORMAT_MAX];
        size_t n = 0;

        format_time_ms(text, io_wall_ms(c->io));
        for (size_t i = 0; text[i] && text[i] != '.'; i++)
                if (text[i] != '-' && text[i] != ':')
                        dest[n++] = text[i];
        (void) snprintf(
                dest + n, FORMAT_MAX - n, "Z-%04x", (unsigned) (io_random_u64(c->io) & 0xffff));
}

_public_ int drmq_snapshot_create(drmq_client *c,
                                  const char *name,
                                  bool is_temporary,
                                  const struct drmq_snapshot_info **ret) {
        Drmq__Proto__SnapshotCreateRequest m = DRMQ__PROTO__SNAPSHOT_CREATE_REQUEST__INIT;
        struct snapshots s = { .client = c };
        char own_name[FORMAT_MAX];
        int r;

        assert_return(c, -EINVAL);
        assert_return(ret, -EINVAL);

        client_forget(c);
        if (!name) {
                make_name(c, own_name);
                name = own_name;
        }
        r = check_name(c, name);
        if (r < 0)
                return r;

        m.name = (char *) name;
        m.token = io_random_u64(c->io) | 1; /* asking again makes no second one */
        m.is_temporary = is_temporary;
        r = client_call(c,
                        FRAME_SNAPSHOT_CREATE,
                        &m,
                        &drmq__proto__snapshot_create_response__descriptor,
                        on_created,
                        &s);
        if (r < 0)
                return r;

        *ret = s.infos;
        return 0;
}

static int on_listed(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__SnapshotListResponse *m = (const void *) answer;
        struct snapshots *s = userdata;

        if (r < 0)
                return r;

        s->infos = client_keep(s->client, m->n_snapshot * sizeof(s->infos[0]));
        if (!s->infos)
                return no_memory(s->client);
        for (size_t i = 0; i < m->n_snapshot; i++) {
                r = take_snapshot(s->client, m->snapshot[i], s->infos + i);
                if (r < 0)
                        return r;
        }
        s->n = m->n_snapshot;
        return 0;
}

_public_ int
drmq_snapshot_list(drmq_client *c, const struct drmq_snapshot_info **ret, size_t *ret_n) {
        Drmq__Proto__SnapshotListRequest m = DRMQ__PROTO__SNAPSHOT_LIST_REQUEST__INIT;
        struct snapshots s = { .client = c };
        int r;

        assert_return(c, -EINVAL);
        assert_return(ret && ret_n, -EINVAL);

        client_forget(c);
        r = client_call(c,
                        FRAME_SNAPSHOT_LIST,
                        &m,
                        &drmq__proto__snapshot_list_response__descriptor,
                        on_listed,
                        &s);
        if (r < 0)
                return r;

        *ret = s.infos;
        *ret_n = s.n;
        return 0;
}

struct piece {
        drmq_client *client;
        uint8_t *p;
        size_t n_max;
        size_t n;
};

static int on_read(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__SnapshotReadResponse *m = (const void *) answer;
        struct piece *piece = userdata;
        struct slice body = piece->client->answer_body;

        if (r < 0)
                return r;
        if (body.size > piece->n_max)
                return no_sense(piece->client);
        if (crc32c(0, body.data, body.size) != m->crc32c) {
                client_say(piece->client, "what was read came damaged");
                return -EBADMSG;
        }

        if (body.size > 0)
                memcpy(piece->p, body.data, body.size);
        piece->n = body.size;
        return 0;
}

_public_ int drmq_snapshot_read(drmq_client *c,
                                const char *name,
                                uint32_t file,
                                uint64_t position,
                                void *p,
                                size_t n,
                                size_t *ret_n) {
        Drmq__Proto__SnapshotReadRequest m = DRMQ__PROTO__SNAPSHOT_READ_REQUEST__INIT;
        size_t n_read = 0;
        int r;

        assert_return(c, -EINVAL);
        assert_return(p || n == 0, -EINVAL);
        assert_return(ret_n, -EINVAL);

        client_forget(c);
        r = check_name(c, name);
        if (r < 0)
                return r;
        m.name = (char *) name;
        m.file = file;
        while (n_read < n) {
                struct piece piece = {
                        .client = c,
                        .p = (uint8_t *) p + n_read,
                        .n_max = MIN(n - n_read, (size_t) CHUNK_BYTES),
                };

                m.position = position + n_read;
                m.max_bytes = (uint32_t) piece.n_max;
                r = client_call(c,
                                FRAME_SNAPSHOT_READ,
                                &m,
                                &drmq__proto__snapshot_read_response__descriptor,
                                on_read,
                                &piece);
                if (r < 0)
                        return r;
                n_read += piece.n;
                if (piece.n < piece.n_max)
                        break;
        }

        *ret_n = n_read;
        return 0;
}

_public_ int drmq_snapshot_delete(drmq_client *c, const char *name) {
        Drmq__Proto__SnapshotDeleteRequest m = DRMQ__PROTO__SNAPSHOT_DELETE_REQUEST__INIT;
        int r;

        assert_return(c, -EINVAL);

        client_forget(c);
        r = check_name(c, name);
        if (r < 0)
                return r;

        m.name = (char *) name;
        return client_call(c,
                           FRAME_SNAPSHOT_DELETE,
                           &m,
                           &drmq__proto__snapshot_delete_response__descriptor,
                           /* on_answer= */ NULL,
                           NULL);
}
