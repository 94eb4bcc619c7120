/* A broker has started, or has connected to a new active controller. Its boot id must rise with
 * every start, so that a disk or machine image that went back in time is noticed
 * (docs/replication.md 2.9). */
#include <stdio.h>

#include "controller/command/internal.h"
#include "proto/schema/control.pb-c.h"

static bool zone_is_good(const char *zone)
{
    size_t length = strlen(zone);
    if (length == 0 || length >= ZONE_BYTES) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (zone[i] <= ' ' || zone[i] > '~') {
            return false;
        }
    }
    return true;
}

static bool fields_are_good(const Weir__CmdRegisterBroker *in, struct db_result *result)
{
    const Weir__Address *address = in->address;
    if (in->broker == 0 || in->broker > INT32_MAX || in->boot == 0 || in->boot > INT64_MAX) {
        command_refuse(result, STATUS_INVALID, "a broker's id and boot id begin at 1");
    } else if (in->disk.len != DB_DISK_ID_BYTES) {
        command_refuse(result, STATUS_INVALID, "a disk's uuid has %d bytes", DB_DISK_ID_BYTES);
    } else if (in->process.len != 0 && in->process.len != DB_DISK_ID_BYTES) {
        command_refuse(result, STATUS_INVALID, "a process id has %d bytes", DB_DISK_ID_BYTES);
    } else if (!zone_is_good(in->zone)) {
        command_refuse(result, STATUS_INVALID,
                       "a zone has 1 to %d printable characters without spaces", ZONE_BYTES - 1);
    } else if (address == NULL || address->host[0] == '\0' || strlen(address->host) >= HOST_BYTES ||
               address->port == 0 || address->port > UINT16_MAX) {
        command_refuse(result, STATUS_INVALID,
                       "a broker says under which host and port it can be reached");
    } else {
        return true;
    }
    return false;
}

/* The disk's row as it will be. */
static bool disk_is_good(struct db *db, const Weir__CmdRegisterBroker *in, struct db_disk *disk,
                         struct db_result *result)
{
    uint8_t process[DB_DISK_ID_BYTES] = {0};
    if (in->process.len == sizeof(process)) {
        memcpy(process, in->process.data, sizeof(process));
    }
    if (!db_disk_get(db, in->disk.data, disk)) {
        *disk =
            (struct db_disk){.broker = in->broker, .disk_gen = db_disk_gen_max(db, in->broker) + 1};
        memcpy(disk->id, in->disk.data, sizeof(disk->id));
    } else if (disk->broker != in->broker) {
        command_refuse(result, STATUS_WRONG_IDENTITY,
                       "this disk belongs to broker-%u: broker-%u needs a directory of its own",
                       disk->broker, in->broker);
        return false;
    } else if (in->boot < disk->boot) {
        command_refuse(result, STATUS_STALE,
                       "boot %llu of broker-%u is older than boot %llu, which was seen: the disk "
                       "was restored from a copy; format it and start with an empty one",
                       (unsigned long long)in->boot, in->broker, (unsigned long long)disk->boot);
        return false;
    } else if (in->boot == disk->boot && memcmp(disk->process, process, sizeof(process)) != 0) {
        command_refuse(result, STATUS_STALE,
                       "boot %llu of broker-%u was another process: the disk was copied or "
                       "restored; format it and start with an empty one",
                       (unsigned long long)in->boot, in->broker);
        return false;
    }
    disk->boot = in->boot;
    memcpy(disk->process, process, sizeof(process));
    return true;
}

void command_register_broker(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdRegisterBroker *in = command->register_broker;
    struct db_disk disk;
    if (!fields_are_good(in, result) || !disk_is_good(db, in, &disk, result)) {
        return;
    }
    struct db_broker before, row = {.id = in->broker};
    bool known = db_broker_get(db, in->broker, &before);
    if (known && before.mode == DB_BROKER_REMOVED && before.disk_gen == disk.disk_gen) {
        command_refuse(
            result, STATUS_STALE,
            "broker-%u was removed from the cluster: with an empty data directory it may "
            "join anew",
            in->broker);
        return;
    }
    if (known) {
        /* Whoever is back is not replaced any more; whoever was removed begins anew. */
        row.mode = before.mode == DB_BROKER_DRAINING ? DB_BROKER_DRAINING : DB_BROKER_NORMAL;
        memcpy(row.label, before.label, sizeof(row.label));
        row.replicas = before.replicas;
        row.preferred = before.preferred;
    }
    row.port = (uint16_t)in->address->port;
    row.boot = in->boot;
    row.disk_gen = disk.disk_gen;
    row.alive = true;
    memcpy(row.disk, disk.id, sizeof(row.disk));
    const char *zone = row.label[0] != '\0' ? row.label : in->zone;
    (void)snprintf(row.zone, sizeof(row.zone), "%s", zone);
    (void)snprintf(row.host, sizeof(row.host), "%s", in->address->host);
    bool same = known && before.alive && before.boot == row.boot &&
                before.disk_gen == row.disk_gen && before.port == row.port &&
                strcmp(before.zone, row.zone) == 0 && strcmp(before.host, row.host) == 0;
    if (!same) {
        db_disk_put(db, &disk);
        db_broker_put(db, &row);
    }
    if (known && (before.mode != row.mode || before.down_ms != 0)) {
        db_broker_plan_put(db, &row);
    }
    Weir__RegisterBrokerReply reply = WEIR__REGISTER_BROKER_REPLY__INIT;
    reply.disk_gen = disk.disk_gen;
    command_answer(result, &reply.base);
}
