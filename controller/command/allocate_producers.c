/* A block of producer ids that nobody has had (docs/replication.md 2.11). */
#include "controller/command/internal.h"

void command_allocate_producers(struct db *db, const Weir__Command *command,
                                struct db_result *result)
{
    uint64_t count = command->allocate_producers->count;
    if (count < 1 || count > DB_PRODUCER_BLOCK) {
        command_refuse(result, STATUS_INVALID, "producer ids come in blocks of 1 to %d",
                       DB_PRODUCER_BLOCK);
        return;
    }
    if (db_meta(db)->next_producer > INT64_MAX - count) {
        command_refuse(result, STATUS_UNAVAILABLE, "all producer ids have been given out");
        return;
    }
    Weir__ProducerIds reply = WEIR__PRODUCER_IDS__INIT;
    reply.first = db_producers_take(db, count);
    reply.count = count;
    command_answer(result, &reply.base);
}
