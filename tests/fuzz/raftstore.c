/* A controller's directory with changed bytes: raft.db and its write-ahead log, raft.mark, the
 * snapshot; and the same snapshot installed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/db/db.h"
#include "controller/raft/snapshot_file.h"
#include "controller/raft/store.h"
#include "tests/fuzz/edits.h"

enum { ENTRIES = 20, ENTRY_BYTES = 300 };

static char dir[] = "/dev/shm/weir-fuzz-raft-XXXXXX";
static struct image good;
static struct db *target;

static void wrote(void *data)
{
    (void)data;
}

static enum status open_store(struct raft_store **out, struct raft_core_state *state,
                              struct error *error)
{
    static const uint32_t ids[] = {1, 2, 3};
    struct raft_store_options options = {
        .dir = dir, .id = 2, .ids = ids, .id_count = 3, .written = wrote};
    return raft_store_open(&options, state, out, error);
}

static void take_snapshot(struct raft_store *store, const struct raft_entry_view *first)
{
    char path[RAFT_SNAPSHOT_PATH_BYTES], state_path[64];
    struct raft_snapshot_info info = {.index = 5, .term = 1, .configuration_index = 1};
    CHECK(first->data.size <= sizeof(info.configuration));
    memcpy(info.configuration, first->data.data, first->data.size);
    info.configuration_size = first->data.size;
    (void)snprintf(state_path, sizeof(state_path), "%s.state", dir);
    struct db *db;
    uint64_t index, write;
    CHECK(db_open(state_path, &db, NULL) == STATUS_OK);
    db_begin(db);
    CHECK(db_commit(db, 5, 0, NULL) == STATUS_OK);
    raft_snapshot_taking_path(dir, path);
    CHECK(db_copy(state_path, path, &index, NULL) == STATUS_OK);
    db_close(db);
    CHECK(raft_snapshot_measure(path, true, &info.bytes, info.hash, NULL) == STATUS_OK);
    CHECK(raft_snapshot_publish_taking(dir, 5, NULL) == STATUS_OK);
    CHECK(raft_store_save_snapshot(store, &info, &write) == STATUS_OK);
    CHECK(raft_store_save_vote(store, 3, 1) == STATUS_OK);
    CHECK(db_open(state_path, &target, NULL) == STATUS_OK);
}

static void remove_state(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "%s.state%s", dir, suffixes[i]);
        (void)unlink(path);
    }
}

static void make_good(void)
{
    (void)atexit(remove_state);
    edits_directory(dir);
    struct raft_store *store;
    struct raft_core_state state;
    CHECK(open_store(&store, &state, NULL) == STATUS_OK);
    for (uint64_t i = 2; i < ENTRIES; i++) {
        uint8_t data[ENTRY_BYTES] = {(uint8_t)i};
        struct raft_entry_view entry = {
            .index = i, .term = 1, .type = RAFT_COMMAND, .data = bytes_of(data, sizeof(data))};
        uint64_t write;
        CHECK(raft_store_append(store, i, &entry, 1, &write) == STATUS_OK);
    }
    take_snapshot(store, &state.entries[0]);
    image_load(dir, &good);
    raft_store_close(store);
}

static void read_all(struct raft_store *store, const struct raft_core_state *state)
{
    struct buf data = {0};
    for (uint32_t i = 0; i < state->count; i++) {
        uint64_t term = 0;
        uint32_t type = 0;
        data.size = 0;
        if (raft_store_load(store, state->first + i, &term, &type, &data) == STATUS_OK &&
            type == RAFT_COMMAND) {
            CHECK(data.size == ENTRY_BYTES && data.data[0] == (uint8_t)(state->first + i));
        }
    }
    buf_release(&data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (good.node_count == 0) {
        make_good();
    }
    struct image image;
    image_copy(&good, &image);
    edits_apply(&image, data, size);
    image_store(&image, dir);
    image_release(&image);
    struct raft_store *store;
    struct raft_core_state state = {0};
    struct error error = {0};
    enum status status = open_store(&store, &state, &error);
    CHECK(status == STATUS_OK || error.text[0] != '\0');
    if (status == STATUS_OK) {
        read_all(store, &state);
        raft_store_close(store);
    }
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    raft_snapshot_path(dir, 5, path);
    if (target != NULL) {
        status = db_restore(target, path, &error);
        CHECK(status == STATUS_OK || error.text[0] != '\0');
        if (status != STATUS_OK) { /* as a controller: it ends, and begins again */
            char state_path[64];
            (void)snprintf(state_path, sizeof(state_path), "%s.state", dir);
            db_close(target);
            if (db_open(state_path, &target, NULL) != STATUS_OK) {
                (void)unlink(state_path);
                CHECK(db_open(state_path, &target, NULL) == STATUS_OK);
            }
        }
    }
    return 0;
}
