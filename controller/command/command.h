/* Applies an entry of the Raft log to the database: command by command, decode -> rule -> rows ->
 * result.
 *
 * Deterministic: the same entries in the same order give the same rows, results and state hash on
 * every controller. So there is no clock and no randomness here; a command's time travels inside
 * it. One file per kind of command; each of them checks everything before it changes a row.
 *
 * Thread: that of the database. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"
#include "controller/db/db.h"

enum {
    COMMAND_ENTRY_COMMANDS_MAX = 512,
    COMMAND_ENTRY_BYTES_MAX = 1024 * 1024,
    COMMAND_RETENTION_HOURS = 24,           /* when the request does not say */
    COMMAND_RETENTION_HOURS_MAX = 365 * 24, /* as Kinesis */
    COMMAND_MAX_RECORD_KIB = 1024,
    COMMAND_MAX_RECORD_KIB_MAX = 10240,
    COMMAND_WARM_MIBPS_MAX = 10 * 1024,
    COMMAND_KEY_ID_MAX = 2048,

    /* Limits that the account's settings can change. */
    COMMAND_SHARDS_MAX = 20000,
    COMMAND_ON_DEMAND_STREAMS_MAX = 50,
    COMMAND_STREAMS_CREATING_MAX = 5,
    COMMAND_CONSUMERS_MAX = 20,
    COMMAND_CONSUMERS_COMMITTED_MAX = 50, /* with the billing commitment */
    COMMAND_MODE_CHANGES_MAX = 2,         /* of a stream in 24 h */
    COMMAND_ENCRYPTION_CHANGES_MAX = 25,  /* ditto */

    COMMAND_ACCESS_KEYS_MAX = 1000,

    /* Consumer leases. */
    COMMAND_APPLICATIONS_MAX = 1000,
    COMMAND_LEASE_WORKERS_MAX = 1000, /* of an application */
    COMMAND_LEASE_STREAMS_MAX = 100,  /* that a worker reads */
    COMMAND_APPLICATION_STREAMS_MAX = 200,
    COMMAND_CHECKPOINT_ITEMS_MAX = 1000,
};

/* When bootstrapping does not say. */
#define COMMAND_ACCOUNT "000000000000"
#define COMMAND_REGION  "us-east-1"

/* One result per command, in order. A zeroed struct is empty. */
struct command_results {
    struct db_result *result;
    size_t count;
};
void command_results_release(struct command_results *results);

/* Applies one entry (a packed CommandList) in one transaction that also records `index`. An entry
 * at or below the recorded index was applied before: it is skipped, without results. What changed
 * is then in db_changes().
 *
 * Any status but OK means that this controller cannot go on: CORRUPT (not a CommandList),
 * UNSUPPORTED (a command of a newer Weir), NO_MEMORY, or an error of the database. A command that
 * is refused by its rule is OK here; its result has the status and the sentence. */
NODISCARD enum status command_apply(struct db *db, uint64_t index, struct bytes entry,
                                    struct command_results *out, struct error *error);

/* Whether this version knows every field of it, at whatever depth. Controllers that skip what
 * others apply would come to differ without a word: what is not known is neither applied nor
 * proposed. */
bool command_is_known(const ProtobufCMessage *message);

/* The version of commands (FORMAT_COMMAND in base/formats.h) from which on controllers apply this
 * one with all that is set in it: 1 to FORMAT_COMMAND. Only for what command_is_known(). */
uint32_t command_version(const ProtobufCMessage *message);
/* The same of one field, whether it is set or not. */
uint32_t command_field_version(const ProtobufCMessageDescriptor *message, uint32_t field);
