/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The MESSAGE_ID of each event of note: random, made once with `systemd-id128 new`, and never used
 * for anything else. `journalctl MESSAGE_ID=…` finds all of a kind.
 */

/* The life of a node. */
#define DRMQ_MESSAGE_STARTED "002b3ebb109748418c9714ca24f657eb"
#define DRMQ_MESSAGE_STOPPING "da6e4d23bab54af7bc4dd499953e81dc"
#define DRMQ_MESSAGE_LEADER_ELECTED "6d06be605f9846b1bec4533f514fe496"

/* The configuration: a line of it that is not understood or does not go with another; it was read
 * anew; it was not, because it is wrong, and the old one stays. */
#define DRMQ_MESSAGE_CONFIG_PROBLEM "b7742558a2ca55ebad1f9e0da96fe99b"
#define DRMQ_MESSAGE_RELOADED "e81ff3eae985deca3e4988c1bc79a51b"
#define DRMQ_MESSAGE_RELOAD_FAILED "7317894750c5f99e7e79e58d9fac53f7"

/* What keeps a node from doing all that it was asked to: it cannot start; an address that nobody
 * asked for cannot be listened on; a descriptor that was passed to it is of no use; connections are
 * refused. */
#define DRMQ_MESSAGE_START_FAILED "a617866814a4419082640a3f1b2a6a54"
#define DRMQ_MESSAGE_LISTEN_SKIPPED "d65014032f1c40fabcad6bdf0dd0492a"
#define DRMQ_MESSAGE_SOCKET_REFUSED "559ded63cbd141b18587c741c2d56bb1"
#define DRMQ_MESSAGE_CONNECTION_REFUSED "cf9a3d9cc2ce40d4b07aa3f0a7c94efc"

/* The log on disk: an unfinished write that was cut at a start; what was acknowledged before it was
 * synced, as log.sync asked, and is lost; bytes that are bad; a sync, write or read that failed and
 * stops the process; a copy of the hard state that was renewed from the other one; a checkpoint that
 * failed; a folder that was never finished and is removed; a truncation that an earlier run began; a
 * loss that a person has accepted; a disk that is full, or nearly, and one that has space again; old
 * segments that go by retention. */
#define DRMQ_MESSAGE_RECOVERY_CUT "0994213e191e46ec888730faf9d6aeac"
#define DRMQ_MESSAGE_RECOVERY_LOST "37ee5d00265a49fcb922795cda7447aa"
#define DRMQ_MESSAGE_CORRUPTION_FOUND "6952affd5e394a9ea69e05f4b356e2d1"
#define DRMQ_MESSAGE_FATAL_DISK "bdd5bede70344896a77d7203228c0ac4"
#define DRMQ_MESSAGE_HARDSTATE_REPAIRED "8fd03a1c220b41dea14ed34cb9fd79c5"
#define DRMQ_MESSAGE_CHECKPOINT_FAILED "ca93e845ffd140bda29d54f4c6933450"
#define DRMQ_MESSAGE_LOG_UNFINISHED_CREATION "d58b840086274940b35313ff6656fe77"
#define DRMQ_MESSAGE_INTENT_CARRIED_OUT "78bac09b71f8416591f43214e468f402"
#define DRMQ_MESSAGE_LOSS_ACCEPTED "1d94534e813102999de223706c9403ab"
#define DRMQ_MESSAGE_DISK_FULL "bc0dc16cb437470c81eb59c5287830b9"
#define DRMQ_MESSAGE_DISK_SPACE "194bb73f29e54b20a856a279d597205a"
#define DRMQ_MESSAGE_LOG_DROPPED "89a33caf82b2439e85d6f6decf204d45"

/* What people administer. */
#define DRMQ_MESSAGE_TOPIC_CREATED "dbe7cda11b084b59ba30b5ce959db3f6"
#define DRMQ_MESSAGE_TOPIC_EXTENDED "5469672f769d430a86bc5159172c8ac0"
#define DRMQ_MESSAGE_TOPIC_DELETED "9d9a24a6b6cd4c70ab22eb15126f8ed0"
#define DRMQ_MESSAGE_SNAPSHOT_CREATED "04c6a80f4d4f941467aa2534fe8d551c"
#define DRMQ_MESSAGE_SNAPSHOT_DELETED "7d2c0643c1f2f4f25eb474bbe13a2574"
#define DRMQ_MESSAGE_SNAPSHOT_FAILED "2ad61e98517a74447e58dbbb329617a8"
#define DRMQ_MESSAGE_SNAPSHOT_DAMAGED "39f6ea7bf5ac056dde9a2a2f9d1bd52b"
