/* A broker's metrics: docs/metrics.md has them all. */
#include <stdio.h>

#include "broker/server/mend.h"
#include "broker/server/observe.h"
#include "broker/server/peers_internal.h"
#include "broker/server/server_internal.h"

/* ---- streams and shards, under Kinesis's names ---- */

struct field {
    const char *name, *help;
    size_t offset;
};
#define FIELD(name, field, help)                           \
    {                                                      \
        name, help, offsetof(struct shard_counters, field) \
    }

static const struct field stream_fields[] = {
    FIELD("kinesis_incoming_bytes_total", in_bytes,
          "IncomingBytes: data and keys of records put into shards that are led here."),
    FIELD("kinesis_incoming_records_total", in_records, "IncomingRecords."),
    FIELD("kinesis_outgoing_bytes_total", out_bytes, "Data and keys of records read here."),
    FIELD("kinesis_outgoing_records_total", out_records, "Records read here."),
    FIELD("kinesis_write_provisioned_throughput_exceeded_total", write_exceeded,
          "WriteProvisionedThroughputExceeded: records that a limit refused."),
    FIELD("kinesis_read_provisioned_throughput_exceeded_total", read_exceeded,
          "ReadProvisionedThroughputExceeded: calls that a limit refused."),
};
/* In the order of the bits of StreamAttributes.monitoring (proto/schema/metadata.proto). */
static const struct field shard_fields[] = {
    FIELD("kinesis_shard_incoming_bytes_total", in_bytes, "IncomingBytes of a shard."),
    FIELD("kinesis_shard_incoming_records_total", in_records, "IncomingRecords of a shard."),
    FIELD("kinesis_shard_outgoing_bytes_total", out_bytes, "OutgoingBytes of a shard."),
    FIELD("kinesis_shard_outgoing_records_total", out_records, "OutgoingRecords of a shard."),
    FIELD("kinesis_shard_write_provisioned_throughput_exceeded_total", write_exceeded,
          "WriteProvisionedThroughputExceeded of a shard."),
    FIELD("kinesis_shard_read_provisioned_throughput_exceeded_total", read_exceeded,
          "ReadProvisionedThroughputExceeded of a shard."),
    FIELD("kinesis_shard_iterator_age_milliseconds", iterator_age_ms,
          "IteratorAgeMilliseconds of a shard: age of the last record of the last read."),
};
enum {
    STREAM_FIELDS = sizeof(stream_fields) / sizeof(stream_fields[0]),
    SHARD_FIELDS = sizeof(shard_fields) / sizeof(shard_fields[0]),
};

static double value_of(const struct shard_counters *counters, const struct field *field)
{
    return (double)*(const uint64_t *)(const void *)((const char *)counters + field->offset);
}

static void write_streams(const struct server *s, struct metrics *m)
{
    for (uint32_t f = 0; f < STREAM_FIELDS; f++) {
        metrics_family(m, stream_fields[f].name, METRIC_COUNTER, stream_fields[f].help);
        for (uint32_t i = 0; i < s->observe.count; i++) {
            const struct stream_counts *counts = &s->observe.streams[i];
            const struct route_stream *stream = route_stream(s->route, counts->stream);
            if (stream != NULL) {
                metrics_put(m, value_of(&counts->counters, &stream_fields[f]), "stream",
                            stream->name, NULL);
            }
        }
    }
}

struct shard_page {
    const struct server *s;
    struct metrics *m;
    uint32_t field;
};

static void write_shard(const struct api_shard_metrics *metrics, void *context)
{
    const struct shard_page *page = context;
    const struct route_stream *stream =
        route_stream(page->s->route, (uint32_t)(metrics->shard >> 32));
    char shard[32];
    if (stream != NULL && (metrics->enabled & 1U << page->field) != 0) {
        (void)snprintf(shard, sizeof(shard), "shardId-%012u", (unsigned)metrics->shard);
        metrics_put(page->m, value_of(&metrics->counters, &shard_fields[page->field]), "stream",
                    stream->name, "shard", shard, NULL);
    }
}

static void write_shards(const struct server *s, struct metrics *m)
{
    for (uint32_t f = 0; f < SHARD_FIELDS; f++) {
        struct shard_page page = {.s = s, .m = m, .field = f};
        metrics_family(m, shard_fields[f].name,
                       f + 1 < SHARD_FIELDS ? METRIC_COUNTER : METRIC_GAUGE, shard_fields[f].help);
        api_metrics_each(s->api, write_shard, &page);
    }
}

/* ---- replication ---- */

struct follower_lag {
    uint64_t lag[CONTROLLERS_MAX * 32]; /* by the place of the broker in the image */
    uint64_t third, readers;
    uint32_t behind, open, halted, uncertain;
    uint32_t puts;
};

static void look_at(const struct server *s, const struct shard *shard, struct follower_lag *all)
{
    struct shard_lack lack;
    all->puts += shard->put_count;
    all->readers += shard->reader_count;
    all->halted += shard->role == REPLICA_HALTED ? 1 : 0;
    if (shard->role != REPLICA_LEADING) {
        return;
    }
    shard_lack(shard, &lack);
    all->open += shard->open ? 1 : 0;
    all->behind += lack.behind > 0 ? 1 : 0;
    all->third = lack.behind > all->third ? lack.behind : all->third;
    for (uint32_t i = 0; i < route_broker_count(s->route); i++) {
        for (uint32_t v = 0; v < lack.count; v++) {
            if (i < sizeof(all->lag) / sizeof(all->lag[0]) &&
                route_broker_at(s->route, i)->id == lack.voters[v].broker &&
                lack.lag[v] > all->lag[i]) {
                all->lag[i] = lack.lag[v];
            }
        }
    }
}

static void write_replication(const struct server *s, struct metrics *m)
{
    struct follower_lag all = {0};
    uint32_t leading = 0, held = shards_count(s->shards, &leading);
    for (struct shard *shard = shards_next(s->shards, NULL); shard != NULL;
         shard = shards_next(s->shards, shard)) {
        look_at(s, shard, &all);
    }
    metrics_one(m, "weir_replicas", METRIC_GAUGE, "Replicas of shards here.", held);
    metrics_one(m, "weir_leaderships", METRIC_GAUGE, "Shards that this broker leads.", leading);
    metrics_one(m, "weir_open_leaderships", METRIC_GAUGE, "Of these, which take records.",
                all.open);
    metrics_one(m, "weir_under_replicated_shards", METRIC_GAUGE,
                "Shards led here of which a replica is away or lacks what was committed a second "
                "ago.",
                peers_lacking(s->peers));
    metrics_one(m, "weir_third_copy_behind_shards", METRIC_GAUGE,
                "Shards led here that have committed records of which there are two copies.",
                all.behind);
    metrics_one(m, "weir_third_copy_lag_records", METRIC_GAUGE,
                "Committed records that the last replica of a shard led here lacks; the worst.",
                (double)all.third);
    metrics_family(m, "weir_replication_lag_records", METRIC_GAUGE,
                   "Records that a follower lacks of a shard led here; the worst.");
    for (uint32_t i = 0; i < route_broker_count(s->route); i++) {
        const struct route_broker *broker = route_broker_at(s->route, i);
        if (broker->id != s->config->id && i < sizeof(all.lag) / sizeof(all.lag[0])) {
            metrics_put(m, (double)all.lag[i], "follower", broker->name, NULL);
        }
    }
    metrics_one(m, "weir_halted_replicas", METRIC_GAUGE,
                "Replicas that refuse to go on because their log is damaged.", all.halted);
    metrics_one(m, "weir_puts_waiting", METRIC_GAUGE, "Puts that wait for their commit.", all.puts);
    metrics_one(m, "weir_readers_waiting", METRIC_GAUGE, "Reads that wait for a record.",
                (double)all.readers);
    metrics_one(m, "weir_append_backlog_bytes", METRIC_GAUGE,
                "Appends of leaders that wait for room in the journal here.",
                (double)s->peers->backlog_bytes);
}

/* ---- disk ---- */

static void write_disk(const struct server *s, struct metrics *m)
{
    struct store_status disk;
    store_status(s->store, &disk);
    metrics_one(m, "weir_disk_out", METRIC_GAUGE,
                "1: a write failed, nothing more is written before a restart.",
                shards_are_out(s->shards) ? 1 : 0);
    metrics_one(m, "weir_disk_full", METRIC_GAUGE,
                "1: less than the reserve is free, puts are refused.", disk.full ? 1 : 0);
    metrics_one(m, "weir_disk_free_bytes", METRIC_GAUGE, "Free space of the data directory.",
                (double)disk.free_bytes);
    metrics_one(m, "weir_disk_reserve_bytes", METRIC_GAUGE, "Puts are refused below this.",
                (double)disk.reserve_bytes);
    metrics_family(m, "weir_journal_sync_seconds", METRIC_HISTOGRAM,
                   "From the beginning of a journal write to its being durable.");
    metrics_put_histogram(m, &disk.journal.synced, NULL);
    metrics_one(m, "weir_journal_written_bytes_total", METRIC_COUNTER,
                "Bytes written to the journal.", (double)disk.journal.bytes_written);
    metrics_one(m, "weir_journal_files", METRIC_GAUGE, "Journal files.", disk.journal.files);
    metrics_one(m, "weir_journal_files_free", METRIC_GAUGE, "Of these, which may be overwritten.",
                disk.journal.files_free);
    metrics_one(m, "weir_journal_unapplied_bytes", METRIC_GAUGE,
                "In the journal and not yet in segments.", (double)disk.unapplied_bytes);
    metrics_one(m, "weir_unlisted_replicas", METRIC_GAUGE,
                "Replicas on the disk that the metadata do not list.", s->strays.unlisted);
    metrics_one(m, "weir_quarantined_replicas", METRIC_GAUGE, "Things in quarantine.",
                s->strays.quarantined);
    metrics_one(m, "weir_reclaimed_replicas", METRIC_GAUGE,
                "Of these, replicas that the metadata list again, here.", s->strays.reclaimed);
    mend_metrics(s, m);
}

/* ---- the rest ---- */

static void write_links(const struct server *s, struct metrics *m)
{
    metrics_one(m, "weir_registered", METRIC_GAUGE,
                "1: it has a session with the active controller.",
                controllers_session(s->controllers) != NULL ? 1 : 0);
    metrics_one(m, "weir_watching", METRIC_GAUGE,
                "1: a controller tells it of every change of the metadata.",
                controllers_is_watching(s->controllers) ? 1 : 0);
    metrics_one(m, "weir_watch_version", METRIC_GAUGE, "Version of the metadata that it has.",
                (double)route_version(s->route));
    metrics_family(m, "weir_peer_heard", METRIC_GAUGE,
                   "1: that broker answered a ping within the last second.");
    for (uint32_t i = 0; i < route_broker_count(s->route); i++) {
        const struct route_broker *broker = route_broker_at(s->route, i);
        if (broker->id != s->config->id) {
            metrics_put(m, peers_is_heard(s->peers, broker->id) ? 1 : 0, "peer", broker->name,
                        NULL);
        }
    }
}

static void write_api(const struct server *s, struct metrics *m)
{
    struct api_stats stats;
    api_stats(s->api, &stats);
    metrics_family(m, "weir_commit_seconds", METRIC_HISTOGRAM,
                   "From a put's coming to its being on a majority of disks.");
    metrics_put_histogram(m, &stats.committed, NULL);
    metrics_one(m, "weir_segment_reads", METRIC_GAUGE, "Reads from segments under way.",
                stats.reading);
    metrics_one(m, "weir_segment_reads_queued", METRIC_GAUGE, "Reads that wait for those.",
                stats.reads_queued);
    metrics_one(m, "weir_subscriptions", METRIC_GAUGE, "Native clients' subscriptions.",
                stats.subscriptions);
    const struct shard_counters *all = &s->observe.all;
    metrics_one(m, "weir_in_bytes_total", METRIC_COUNTER,
                "Data and keys of records put into shards led here.", (double)all->in_bytes);
    metrics_one(m, "weir_in_records_total", METRIC_COUNTER, "Records put into shards led here.",
                (double)all->in_records);
    metrics_one(m, "weir_out_bytes_total", METRIC_COUNTER, "Data and keys of records read here.",
                (double)all->out_bytes);
    metrics_one(m, "weir_out_records_total", METRIC_COUNTER, "Records read here.",
                (double)all->out_records);
}

void observe_write_metrics(void *server, struct metrics *m)
{
    const struct server *s = server;
    write_links(s, m);
    write_replication(s, m);
    write_disk(s, m);
    health_metrics(s, m);
    write_api(s, m);
    write_streams(s, m);
    write_shards(s, m);
    if (s->kinesis != NULL) {
        kinesis_metrics(s->kinesis, m);
    }
}
