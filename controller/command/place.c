#include "controller/command/place.h"

#include <stdlib.h>

static void add_alive(const struct db_broker *broker, void *context)
{
    struct place *place = context;
    if (!broker->alive || broker->mode != DB_BROKER_NORMAL || place->failed) {
        return;
    }
    if (place->count == place->capacity) {
        uint32_t capacity = place->capacity == 0 ? 16 : 2 * place->capacity;
        struct db_broker *grown = realloc(place->row, capacity * sizeof(*grown));
        if (grown == NULL) {
            place->failed = true;
            return;
        }
        place->row = grown;
        place->capacity = capacity;
    }
    place->row[place->count++] = *broker;
}

void place_release(struct place *place)
{
    free(place->row);
    free(place->broker);
}

void place_load(struct db *db, struct place *place)
{
    db_broker_each(db, add_alive, place);
    place->broker = calloc((size_t)place->count + 1, sizeof(*place->broker));
    place->failed = place->failed || place->broker == NULL;
    for (uint32_t i = 0; i < place->count && !place->failed; i++) {
        place->broker[i] = (struct placement_broker){
            .id = place->row[i].id,
            .zone = place->row[i].zone,
            .replicas = place->row[i].replicas,
            .preferred = place->row[i].preferred,
        };
    }
}

static uint32_t disk_gen_of(const struct place *place, uint32_t broker)
{
    for (uint32_t i = 0; i < place->count; i++) {
        if (place->row[i].id == broker) {
            return place->row[i].disk_gen;
        }
    }
    return 0;
}

static void put_new(struct db *db, struct db_shard *shard)
{
    shard->phase = DB_SHARD_ELECTING;
    shard->epoch = 1;
    db_shard_put(db, shard);
    db_shard_configs_put(db, shard);
}

void place_shard(struct db *db, const struct place *place, const struct placement_choice *choice,
                 struct db_shard *shard)
{
    shard->preferred = choice->broker[0];
    shard->cfg = (struct db_config){.version = 1, .voter_count = REPLICAS_PER_SHARD};
    for (uint32_t r = 0; r < REPLICAS_PER_SHARD; r++) {
        shard->cfg.voter[r] = (struct db_replica){
            .broker = choice->broker[r], .disk_gen = disk_gen_of(place, choice->broker[r])};
    }
    put_new(db, shard);
}

void place_beside(struct db *db, const struct db_shard *other, struct db_shard *shard)
{
    shard->preferred = other->preferred;
    shard->cfg = other->cfg;
    shard->cfg.version = 1;
    for (uint32_t v = 0; v < shard->cfg.voter_count; v++) {
        shard->cfg.voter[v].made = false;
        db_broker_load_add(db, shard->cfg.voter[v].broker, 1, 0);
    }
    db_broker_load_add(db, shard->preferred, 0, 1);
    put_new(db, shard);
}

void place_loads(struct db *db, const struct place *place)
{
    for (uint32_t i = 0; i < place->count; i++) {
        uint32_t replicas = place->broker[i].replicas - place->row[i].replicas;
        uint32_t preferred = place->broker[i].preferred - place->row[i].preferred;
        if (replicas != 0 || preferred != 0) {
            db_broker_load_add(db, place->row[i].id, replicas, preferred);
        }
    }
}
