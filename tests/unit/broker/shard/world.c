#include "tests/unit/broker/shard/world.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct message {
    struct list node;
    uint32_t from, to;
    uint32_t disk_gen;
    struct replica_answer answer;
};

/* ---- hooks ---- */

static uint64_t now_ms(void *context)
{
    return ((struct world_broker *)context)->world->now_ms;
}

static uint64_t wall_ms(void *context)
{
    return ((struct world_broker *)context)->world->wall_ms;
}

static bool random_bytes(void *context, uint8_t *to, size_t size)
{
    (void)context;
    memset(to, 0x5a, size);
    return true;
}

static void wake(void *context, struct shard_peer *peer)
{
    struct world_broker *b = context;
    if (!peer->queued) {
        peer->queued = true;
        list_push(&b->woken, &peer->node);
    }
}

static void forget(void *context, struct shard_peer *peer)
{
    (void)context;
    list_remove(&peer->node);
    peer->queued = false;
}

static void answer(void *context, const struct shard *shard, struct replica_id to,
                   const struct replica_answer *what)
{
    struct world_broker *b = context;
    struct message *m = malloc(sizeof(*m));
    assert_non_null(m);
    *m = (struct message){
        .from = b->id, .to = to.broker, .disk_gen = shard->self.disk_gen, .answer = *what};
    list_push(&b->world->messages, &m->node);
}

static void report(void *context, const struct shard *shard, uint32_t epoch,
                   const struct replica_report *what)
{
    (void)shard;
    (void)epoch;
    struct world_broker *b = context;
    b->reports++;
    b->report = *what;
}

static void leading(void *context, const struct shard *shard, uint32_t epoch)
{
    (void)shard;
    (void)epoch;
    ((struct world_broker *)context)->leadings++;
}

static void sealed(void *context, const struct shard *shard, uint64_t end, uint64_t time_ms)
{
    (void)shard;
    (void)time_ms;
    struct world_broker *b = context;
    b->seals++;
    b->sealed_end = end;
}

static void learned(void *context, const struct shard *shard, struct replica_id learner)
{
    (void)context;
    (void)shard;
    (void)learner;
}

static void repair(void *context, const struct shard *shard, uint64_t offset)
{
    (void)context;
    (void)shard;
    (void)offset;
}

static void resign(void *context, const struct shard *shard, uint32_t epoch, uint32_t promised,
                   uint32_t heir)
{
    (void)heir;
    struct world_broker *b = context;
    (void)shard;
    b->resignations++;
    b->resigned_epoch = epoch;
    b->resigned_promised = promised;
}

static void dropped(void *context, uint64_t shard)
{
    (void)shard;
    ((struct world_broker *)context)->dropped++;
}

static bool is_connected(void *context, uint32_t broker)
{
    struct world_broker *b = context;
    return !b->world->broker[broker].cut;
}

static void schedule(void *context)
{
    ((struct world_broker *)context)->scheduled = true;
}

/* ---- life ---- */

static void broker_open(struct world_broker *b)
{
    struct store_options options;
    store_options_init(&options);
    options.dir = b->dir;
    options.broker = b->id;
    memset(options.cluster_id, 9, sizeof(options.cluster_id));
    options.segment_bytes = 256 * 1024;
    options.journal_file_bytes = 4 * 1024 * 1024;
    options.journal_files = 4;
    options.ring_bytes = 4 * 1024 * 1024;
    options.block_bytes = 128 * 1024;
    options.reserve_bytes = b->world->reserve_bytes;
    options.disk = b->id == 1 ? b->world->disk : NULL;
    struct error error = {.text = ""};
    if (store_open(&options, &b->store, &error) != STATUS_OK) {
        fail_msg("%s: %s", b->dir, error.text);
    }
    const struct shards_hooks hooks = {
        .context = b,
        .now_ms = now_ms,
        .wall_ms = wall_ms,
        .random = random_bytes,
        .wake = wake,
        .forget = forget,
        .answer = answer,
        .report = report,
        .leading = leading,
        .sealed = sealed,
        .resign = resign,
        .learned = learned,
        .repair = repair,
        .dropped = dropped,
        .is_connected = is_connected,
        .schedule = schedule,
    };
    assert_int_equal(shards_open(b->store, &hooks, b->id, &b->shards), STATUS_OK);
}

static void broker_close(struct world_broker *b)
{
    shards_close(b->shards);
    store_close(b->store);
    shards_free(b->shards);
    list_init(&b->woken);
}

void world_open(struct world *w)
{
    *w = (struct world){.now_ms = 1000,
                        .wall_ms = UINT64_C(1700000000000),
                        .reserve_bytes = w->reserve_bytes,
                        .disk = w->disk};
    list_init(&w->messages);
    w->config.version = 1;
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        struct world_broker *b = &w->broker[id];
        b->world = w;
        b->id = id;
        list_init(&b->woken);
        (void)snprintf(b->dir, sizeof(b->dir), "/dev/shm/weir-shard-test-XXXXXX");
        assert_non_null(mkdtemp(b->dir));
        broker_open(b);
        struct shard *shard;
        assert_int_equal(shards_create(b->shards, SHARD_ID, 1, 0, &shard), STATUS_OK);
        w->config.voter[w->config.voter_count++] = (struct replica_id){.broker = id, .disk_gen = 1};
    }
}

void world_close(struct world *w)
{
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        broker_close(&w->broker[id]);
        char command[128];
        (void)snprintf(command, sizeof(command), "rm -rf %s", w->broker[id].dir);
        assert_int_equal(system(command), 0);
    }
    while (!list_empty(&w->messages)) {
        free(CONTAINER_OF(list_pop(&w->messages), struct message, node));
    }
}

void world_restart(struct world *w, uint32_t broker)
{
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        if (id != broker) {
            shards_peer_down(w->broker[id].shards, broker);
        }
    }
    broker_close(&w->broker[broker]);
    broker_open(&w->broker[broker]);
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        if (id != broker) {
            shards_peer_up(w->broker[id].shards, broker, 0);
        }
    }
}

struct shard *world_shard(struct world *w, uint32_t broker)
{
    return shards_find(w->broker[broker].shards, SHARD_ID);
}

/* ---- moving ---- */

static void poll_disk(struct world_broker *b, int wait_ms)
{
    struct pollfd fd = {.fd = store_event_fd(b->store), .events = POLLIN};
    if (poll(&fd, 1, wait_ms) > 0) {
        shards_poll(b->shards);
    }
}

void world_turn(struct world *w, uint32_t broker)
{
    struct world_broker *b = &w->broker[broker];
    for (int i = 0; i < 20; i++) {
        poll_disk(b, 2);
        shards_turn(b->shards);
    }
}

static uint64_t boot_of(struct world *w, uint32_t broker)
{
    struct store_info info;
    store_info(w->broker[broker].store, &info);
    return info.boot_id;
}

/* One append of `to`, with what the tail has or a blocking read of segments. */
static bool deliver_append(struct world *w, struct world_broker *b, struct shard_peer *to)
{
    struct replica_append append;
    uint64_t end;
    struct shard *shard = to->shard;
    if (replica_next_append(shard->replica, to->id, w->now_ms, &append, &end) != STATUS_OK) {
        return false;
    }
    struct log_batch batch[64];
    struct buf data = {0};
    uint64_t upto = append.prev.end;
    uint32_t count = end == upto ? 0 : shard_log_tail(shard->log, upto, end, 1 << 20, batch, 64);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(buf_append(&data, batch[i].bytes.data, batch[i].bytes.size), STATUS_OK);
        upto = batch[i].base + batch[i].count;
    }
    assert_true(count > 0 || end == append.prev.end);
    bool spares = count > 0 && batch[0].keeper == to->id.broker && batch[0].base >= to->spared_end;
    if (spares) { /* as broker/server/appends.c has it */
        data.size = BATCH_HEADER_BYTES;
        upto = to->spared_end = batch[0].base + batch[0].count;
        w->spared++;
    }
    shard_sent(to, upto, data.size);
    struct world_broker *other = &w->broker[to->id.broker];
    if (!b->cut && !other->cut) {
        append.leader_boot = boot_of(w, b->id);
        struct shard *follower = world_shard(w, to->id.broker);
        status_ignore(spares ? shard_receive_header(follower, &append, buf_bytes(&data))
                             : shard_receive(follower, &append, buf_bytes(&data)),
                      "the transcript shows it");
    }
    buf_release(&data);
    return true;
}

static bool deliver_appends(struct world *w, struct world_broker *b)
{
    bool moved = false;
    while (!list_empty(&b->woken)) {
        struct shard_peer *to = CONTAINER_OF(list_pop(&b->woken), struct shard_peer, node);
        to->queued = false;
        while (deliver_append(w, b, to)) {
            moved = true;
        }
    }
    return moved;
}

static bool deliver_answers(struct world *w)
{
    bool moved = false;
    while (!list_empty(&w->messages)) {
        struct message *m = CONTAINER_OF(list_pop(&w->messages), struct message, node);
        if (!w->broker[m->from].cut && !w->broker[m->to].cut) {
            status_ignore(
                shard_answered(world_shard(w, m->to),
                               (struct replica_id){.broker = m->from, .disk_gen = m->disk_gen},
                               &m->answer),
                "late copies are void");
            moved = true;
        }
        free(m);
    }
    return moved;
}

/* Whether `broker` committed up to there; 0: nobody. */
static bool has_committed(struct world *w, uint32_t broker, uint64_t commit)
{
    return broker != 0 && world_shard(w, broker)->commit >= commit;
}

/* Waits for what was written, however slow the machine is: what follows from it is a move. */
static bool sync_disk(struct world_broker *b)
{
    uint64_t before = store_synced(b->store);
    status_ignore(store_sync(b->store, false), "a disk that is out says so to the poll as well");
    shards_poll(b->shards);
    return store_synced(b->store) != before;
}

static void settle(struct world *w, uint32_t broker, uint64_t commit)
{
    for (int idle = 0, round = 0; idle < 5; round++) {
        assert_true(round < 10000);
        bool moved = false;
        for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
            struct world_broker *b = &w->broker[id];
            b->scheduled = false;
            poll_disk(b, idle > 0 ? 3 : 0);
            if (has_committed(w, broker, commit)) {
                return;
            }
            shards_turn(b->shards);
            moved = deliver_appends(w, b) || b->scheduled || moved;
        }
        moved = deliver_answers(w) || moved;
        if (has_committed(w, broker, commit)) {
            return;
        }
        for (uint32_t id = 1; !moved && id <= WORLD_BROKERS; id++) {
            moved = sync_disk(&w->broker[id]);
        }
        if (!moved) {
            w->now_ms += REPLICA_COMMIT_IDLE_MS;
            for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
                shards_tick(w->broker[id].shards);
            }
        }
        idle = moved ? 0 : idle + 1;
    }
}

void world_settle(struct world *w)
{
    settle(w, 0, 0);
}

void world_commit(struct world *w, uint32_t broker, uint64_t commit)
{
    settle(w, broker, commit);
    assert_true(has_committed(w, broker, commit));
}

void world_elect(struct world *w, uint32_t leader, uint32_t epoch)
{
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        if (!w->broker[id].cut) {
            assert_int_equal(shard_fence(world_shard(w, id), epoch, &w->config), STATUS_OK);
        }
    }
    world_settle(w);
    const struct shard_grant grant = {
        .epoch = epoch,
        .generation = 0,
        .replica = {.broker = leader, .disk_gen = 1},
        .boot = boot_of(w, leader),
        .config = w->config
    };
    assert_int_equal(shard_grant(world_shard(w, leader), &grant), STATUS_OK);
    world_settle(w);
}

/* ---- puts and reads ---- */

struct bytes world_batch(uint32_t count, uint64_t producer, uint16_t epoch, uint32_t seq)
{
    static struct batch_builder builder;
    batch_builder_reset(&builder);
    for (uint32_t i = 0; i < count; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "record %u", seq + i);
        const struct record record = {.key = bytes_of_string("key"), .data = bytes_of_string(text)};
        assert_int_equal(batch_builder_add(&builder, &record), STATUS_OK);
    }
    return batch_builder_finish(&builder, producer, epoch, seq);
}

static void put_done(struct shard_put *put)
{
    CONTAINER_OF(put, struct world_put, put)->done++;
}

void world_put(struct world *w, uint32_t broker, struct bytes batch, struct world_put *put)
{
    *put = (struct world_put){.put.done = put_done, .put.keeper = w->keeper};
    put->refused = shard_put(world_shard(w, broker), batch, &put->put, &put->error);
}

static void read_done(struct log_read *read)
{
    *(bool *)read->owner = true;
}

static uint64_t read_segments(struct world_broker *b, struct shard *shard, uint64_t offset,
                              struct buf *out)
{
    bool done = false;
    struct log_read read = {.log = shard->log,
                            .offset = offset,
                            .end = shard->commit,
                            .max_bytes = 1 << 20,
                            .done = read_done,
                            .owner = &done};
    assert_int_equal(store_read(b->store, &read), STATUS_OK);
    for (int i = 0; i < 20000 && !done; i++) {
        poll_disk(b, 5);
    }
    assert_true(done);
    assert_int_equal(read.status, STATUS_OK);
    assert_int_equal(buf_append(out, read.data.data, read.data.size), STATUS_OK);
    buf_release(&read.data);
    return read.next;
}

void world_read_all(struct world *w, uint32_t broker, struct buf *out)
{
    struct shard *shard = world_shard(w, broker);
    for (uint64_t at = shard->log_start; at < shard->commit;) {
        struct log_batch batch[64];
        uint32_t count = shard_log_tail(shard->log, at, shard->commit, 1 << 20, batch, 64);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(buf_append(out, batch[i].bytes.data, batch[i].bytes.size), STATUS_OK);
            at = batch[i].base + batch[i].count;
        }
        if (count == 0) {
            at = read_segments(&w->broker[broker], shard, at, out);
        }
    }
}
