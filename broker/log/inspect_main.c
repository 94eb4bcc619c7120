/* weir-inspect DIR: what a stopped broker's data directory holds, as JSON. Changes nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/log/log.h"

enum { EXIT_USAGE = 2 };

static void print_hex(const char *name, const uint8_t *bytes, size_t size)
{
    printf("\"%s\": \"", name);
    for (size_t i = 0; i < size; i++) {
        printf("%02x", bytes[i]);
    }
    printf("\"");
}

static void print_shard(void *context, const struct log_summary *s)
{
    bool *any = context;
    printf("%s\n    {\"shard\": \"%" PRIu64 "-%" PRIu64 "\", \"log_start\": %" PRIu64
           ", \"end\": %" PRIu64 ", \"commit_hint\": %" PRIu64
           ", \"last_epoch\": %u, \"last_crc\": %u, \"promised\": %u, \"disk_gen\": %u, "
           "\"uncertain\": %s, \"corrupt\": %s, \"batches\": %" PRIu64 ", \"records\": %" PRIu64
           ", \"bytes\": %" PRIu64 ", \"crc32c\": %u, ",
           *any ? "," : "", s->shard >> 32, s->shard & UINT32_MAX, s->log_start, s->end,
           s->commit_hint, s->last_epoch, s->last_crc, s->promised, s->disk_gen,
           s->uncertain ? "true" : "false", s->corrupt ? "true" : "false", s->batches, s->records,
           s->bytes, s->bytes_crc);
    if (s->encrypted > 0) {
        printf("\"encrypted\": {\"batches\": %" PRIu64 ", \"first_key\": %u, \"last_key\": %u}, ",
               s->encrypted, s->first_key, s->last_key);
    }
    print_hex("sha256", s->bytes_sha256, sizeof(s->bytes_sha256));
    printf("}");
    *any = true;
}

int main(int argc, char **argv)
{
    if (argc != 2 || strcmp(argv[1], "--help") == 0) {
        (void)fprintf(argc == 2 ? stdout : stderr,
                      "usage: weir-inspect DIR\n"
                      "Prints what the data directory of a stopped broker holds, as JSON.\n");
        return argc == 2 ? 0 : EXIT_USAGE;
    }
    struct store_info info;
    struct error error = {0};
    bool any = false;
    printf("{\"shards\": [");
    enum status status = store_inspect(argv[1], NULL, print_shard, &any, &info, &error);
    if (status != STATUS_OK) {
        printf("],\n \"error\": \"%s\"}\n", status_name(status));
        (void)fprintf(stderr, "weir-inspect: %s\n", error.text);
        return 1;
    }
    printf("\n  ],\n  \"broker\": %u, \"boot_id\": %" PRIu64 ", ", info.broker, info.boot_id);
    print_hex("disk_id", info.disk_id, sizeof(info.disk_id));
    printf(", ");
    print_hex("cluster_id", info.cluster_id, sizeof(info.cluster_id));
    printf(",\n  \"journal\": {\"blocks\": %" PRIu64 ", \"records\": %" PRIu64
           ", \"torn_blocks\": %" PRIu64 ", \"damaged_blocks\": %" PRIu64
           ", \"damaged_records\": %" PRIu64 "}\n}\n",
           info.recovery.blocks, info.recovery.records, info.recovery.torn_blocks,
           info.recovery.damaged_blocks, info.recovery.damaged_records);
    return 0;
}
