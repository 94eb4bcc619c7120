/* The versions of everything that one program writes and another, perhaps older or newer, reads:
 * what processes say to each other, and what lies on disks. This is the one place where a version
 * is raised.
 *
 * Raise it when a program of the release before would misread what is written now. A new optional
 * field, or a new table that the older one does not need, is no reason; a field that changes its
 * meaning is. A version that is raised has to be read in both forms for one release (`oldest`), so
 * that processes can be upgraded one after another and disks stay where they are. Whoever meets a
 * newer version than its own refuses it with format_refuse() and changes nothing.
 *
 * docs/operations.md explains them, `weirctl upgrade check` shows those of each process. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum format_role { FORMAT_OF_BROKERS = 1, FORMAT_OF_CONTROLLERS = 2, FORMAT_OF_ALL = 3 };

/* X(NAME, "name", version written, oldest version read, who) */
#define WEIR_FORMATS(X)                                                                          \
    /* Methods, messages and what they mean; agreed on in the HELLO (proto/net/hello.c). */      \
    X(PROTOCOL, "protocol", 1, 1, FORMAT_OF_ALL)                                                 \
    /* The head of a frame (proto/wire/frame.h): that of the HELLO, too, so it never changes. */ \
    X(FRAME, "frame", 1, 1, FORMAT_OF_ALL)                                                       \
    /* Batches, on the wire and in segments (proto/wire/batch.h). With it goes `directory`: an   \
     * older broker must not take what it cannot read for damage. */                             \
    X(BATCH, "batch", 1, 1, FORMAT_OF_BROKERS)                                                   \
    /* A broker's data directory as a whole (broker/log/identity.h). */                          \
    X(DIRECTORY, "directory", 1, 1, FORMAT_OF_BROKERS)                                           \
    X(JOURNAL, "journal", 2, 2, FORMAT_OF_BROKERS)                                               \
    /* The index of a segment: made anew from the segment when it is of another version. */      \
    X(INDEX, "index", 1, 1, FORMAT_OF_BROKERS)                                                   \
    /* How far the scrubber is: begins anew when it is of another version. */                    \
    X(SCRUB, "scrub", 1, 1, FORMAT_OF_BROKERS)                                                   \
    /* The list of known damage (broker/log/holes.c): found again when of another version. */    \
    X(DAMAGE, "damage", 1, 1, FORMAT_OF_BROKERS)                                                 \
    /* A controller's data directory: its file `identity`. */                                    \
    X(CONTROLLER, "controller", 1, 1, FORMAT_OF_CONTROLLERS)                                     \
    /* raft.db, and what is in it but commands: configurations. */                               \
    X(RAFT_LOG, "raft-log", 1, 1, FORMAT_OF_CONTROLLERS)                                         \
    /* Commands in the Raft log (controller/command/version.c): raised when there is a new one,  \
     * or a new field of one. None is proposed before all controllers know it. */                \
    X(COMMAND, "command", 2, 1, FORMAT_OF_CONTROLLERS)                                           \
    /* Tables of state.db, which snapshots and backups have, too (controller/db/schema.c). */    \
    X(STATE, "state", 5, 1, FORMAT_OF_CONTROLLERS)                                               \
    X(BACKUP, "backup", 1, 1, FORMAT_OF_CONTROLLERS)                                             \
    /* Secrets under the cluster key (controller/secret/secret.h). */                            \
    X(SEALED, "sealed", 1, 1, FORMAT_OF_CONTROLLERS)

enum {
#define X(name, text, version, oldest, who) FORMAT_##name = (version), OLDEST_##name = (oldest),
    WEIR_FORMATS(X)
#undef X
};

struct format {
    const char *name;
    uint32_t version, oldest;
    unsigned who; /* of enum format_role */
};

extern const struct format formats[];
extern const size_t format_count;

/* UNSUPPORTED, with the sentence for an operator who started an older program than what is there
 * was written by (or one so new that it does not read it any more): "WHAT has format 5, ...". */
NODISCARD enum status format_refuse(struct error *error, const char *what, uint64_t found,
                                    uint32_t version, uint32_t oldest);
