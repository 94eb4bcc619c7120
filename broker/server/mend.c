#include "broker/server/mend.h"

#include "base/metrics.h"

enum status mend_open(struct server *s)
{
    const struct repairs_options repairs = {.loop = s->loop,
                                            .shards = s->shards,
                                            .route = s->route,
                                            .peers = s->peers,
                                            .broker = s->config->id};
    s->repairs = repairs_new(&repairs);
    if (s->repairs == NULL) {
        return STATUS_NO_MEMORY;
    }
    const struct scrub_options scrub = {.loop = s->loop,
                                        .shards = s->shards,
                                        .route = s->route,
                                        .peers = s->peers,
                                        .repairs = s->repairs,
                                        .broker = s->config->id,
                                        .data_dir = s->config->data_dir,
                                        .period_ms = s->config->scrub_period_ms,
                                        .rate = s->config->scrub_rate};
    s->scrub = scrub_new(&scrub);
    if (s->scrub == NULL) {
        return STATUS_NO_MEMORY;
    }
    repairs_resume(s->repairs);
    return STATUS_OK;
}

void mend_repair(void *context, const struct shard *shard, uint64_t offset)
{
    struct server *s = context;
    if (s->repairs != NULL) {
        repairs_damaged(s->repairs, shard->log, offset);
    }
}

void mend_close(struct server *s)
{
    if (s->scrub != NULL) {
        scrub_close(s->scrub);
    }
    if (s->repairs != NULL) {
        repairs_close(s->repairs);
    }
}

void mend_free(struct server *s)
{
    scrub_free(s->scrub);
    repairs_free(s->repairs);
}

void mend_tell(struct server *s)
{
    struct repair_counters repairs;
    struct scrub_status scrub;
    repairs_counters(s->repairs, &repairs);
    scrub_status(s->scrub, &scrub);
    const struct controllers_damage damage = {.holes = repairs_holes(s->repairs),
                                              .found = repairs.found,
                                              .repaired = repairs.repaired,
                                              .differ = scrub.differ,
                                              .scrub_passes = scrub.passes,
                                              .scrub_finished_ms = scrub.pass_finished_ms,
                                              .scrub_permille = scrub.permille,
                                              .scrub_late = scrub.late};
    controllers_set_damage(s->controllers, &damage);
}

void mend_metrics(const struct server *s, struct metrics *m)
{
    struct repair_counters repairs;
    struct scrub_status scrub;
    repairs_counters(s->repairs, &repairs);
    scrub_status(s->scrub, &scrub);
    metrics_one(m, "weir_damage_found_total", METRIC_COUNTER,
                "Damaged pieces of segments that were found.", (double)repairs.found);
    metrics_one(m, "weir_damage_repaired_total", METRIC_COUNTER,
                "Of these, repaired from other replicas.", (double)repairs.repaired);
    metrics_one(m, "weir_damage_repaired_bytes_total", METRIC_COUNTER, "Bytes fetched for that.",
                (double)repairs.bytes);
    metrics_one(m, "weir_damaged_replicas", METRIC_GAUGE,
                "Replicas with damage that is known and not repaired yet.",
                repairs_holes(s->repairs));
    metrics_one(m, "weir_repairs_served_total", METRIC_COUNTER,
                "Pieces given to other brokers for their repairs.", (double)repairs.served);
    metrics_one(m, "weir_scrub_passes_total", METRIC_COUNTER,
                "Times that every byte of the disk was checked.", (double)scrub.passes);
    metrics_one(m, "weir_scrub_progress_ratio", METRIC_GAUGE, "Part of this pass that is done.",
                scrub.permille / 1000.0);
    metrics_one(m, "weir_scrub_bytes_total", METRIC_COUNTER, "Bytes checked by the scrubber.",
                (double)scrub.bytes);
    metrics_one(m, "weir_scrub_late", METRIC_GAUGE,
                "1: a pass takes longer than scrub-period: raise scrub-rate.", scrub.late ? 1 : 0);
    metrics_one(m, "weir_segments_compared_total", METRIC_COUNTER,
                "Whole segments whose hash was compared with another replica's.",
                (double)scrub.compared);
    metrics_one(m, "weir_segments_differ_total", METRIC_COUNTER,
                "Of these, with other bytes there: must stay 0.", (double)scrub.differ);
}
