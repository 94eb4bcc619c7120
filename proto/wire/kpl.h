/* Aggregated records, as the Kinesis Producer Library makes them and the Kinesis Client Library
 * takes them apart: many user records in the data of one record.
 *
 *   F3 89 9A C2                        magic
 *   protobuf AggregatedRecord          1: repeated string, partition keys
 *                                      2: repeated string, explicit hash keys in decimal
 *                                      3: repeated Record { 1: index of its partition key,
 *                                         2: index of its explicit hash key (optional), 3: data,
 *                                         4: tags, which nobody uses }
 *   MD5 of the protobuf                16 bytes
 *
 * User records are numbered from 0 within their record: the sub-sequence number.
 *
 * Pure: no I/O, no clock, no threads. Readers take any bytes: what claims to be aggregated and is
 * not, down to its last byte, is a plain record. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash_key.h"
#include "proto/wire/batch.h"

/* ---- taking apart ---- */

struct kpl_record {
    struct bytes key, data; /* borrowed from the record */
    struct hash_key hash_key;
    bool has_hash_key; /* an explicit one */
    uint32_t sub_sequence;
};

struct kpl_view {
    struct bytes message, rest;
    struct bytes *keys;
    struct hash_key *hash_keys;
    uint32_t key_count, hash_key_count;
    uint32_t count; /* user records, at least 1 */
    uint32_t next;
};

/* INVALID: a plain record. NO_MEMORY: nobody can tell. On OK the view borrows `data` until
 * kpl_release(). */
NODISCARD enum status kpl_open(struct bytes data, struct kpl_view *out);
bool kpl_next(struct kpl_view *view, struct kpl_record *out); /* false: there are no more */
void kpl_release(struct kpl_view *view);

/* Whether a user record belongs into a shard with this range. As the Kinesis Client Library does
 * it, those that do not are left out: a producer that did not know yet that the shard was split put
 * them there, and puts them again elsewhere. */
bool kpl_in_range(const struct kpl_record *record, struct hash_range range);

/* ---- making ---- */

/* Collects user records into one aggregated record. A zeroed struct is empty. */
struct kpl_builder {
    struct buf keys, hash_keys, records; /* fields 1, 2 and 3, encoded */
    struct buf out;
    struct kpl_slot *slots; /* what the two tables have, by hash */
    uint32_t slot_count, used;
    uint32_t key_count, hash_key_count;
    uint32_t count; /* user records */
};

/* BUSY: the aggregated record would have more than `max_bytes`; nothing was added.
 * NO_MEMORY: ditto. */
NODISCARD enum status kpl_builder_add(struct kpl_builder *b, const struct record *record,
                                      size_t max_bytes);

/* Bytes that it has now. */
size_t kpl_builder_size(const struct kpl_builder *b);

/* The data of the aggregated record; the builder's until its next use. NO_MEMORY. */
NODISCARD enum status kpl_builder_finish(struct kpl_builder *b, struct bytes *out);

void kpl_builder_reset(struct kpl_builder *b); /* empties it, keeps the memory */
void kpl_builder_release(struct kpl_builder *b);
