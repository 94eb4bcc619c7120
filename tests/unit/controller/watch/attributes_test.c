#include "controller/watch/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "tests/unit/controller/command/script.h"

enum { STREAMS = 40, POLICY_BYTES = 200 * 1000 };

struct fixture {
    struct script script;
    struct watch *watch;
    size_t parts, streams, shards, policies, settings;
    bool over;
};

static int open_fixture(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    script_open(&f.script);
    f.watch = watch_new();
    assert_non_null(f.watch);
    (void)script_run(&f.script, "> bootstrap\n> broker 1 zone=a\n> broker 2 zone=b\n"
                                "> broker 3 zone=c\n");
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    watch_free(f->watch);
    script_close(&f->script);
    return 0;
}

static void take(struct fixture *f)
{
    assert_int_equal(watch_apply(f->watch, f->script.db, db_changes(f->script.db)), STATUS_OK);
    db_changes_clear(db_changes(f->script.db));
}

/* Streams of two shards, each with a policy that makes it large. */
static void make_streams(struct fixture *f)
{
    static char policy[POLICY_BYTES + 1];
    memset(policy, 'p', POLICY_BYTES);
    for (uint32_t i = 1; i <= STREAMS; i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "> create s%u shards=2\n", i);
        (void)script_run(&f->script, line);
        Weir__StreamAttributes attributes = WEIR__STREAM_ATTRIBUTES__INIT;
        attributes.policy = policy;
        attributes.monitoring = i;
        db_begin(f->script.db);
        db_attributes_put(f->script.db, i, &attributes);
        assert_int_equal(db_commit(f->script.db, ++f->script.index, 0, NULL), STATUS_OK);
    }
}

static enum status count(void *context, const Weir__MetadataUpdate *update)
{
    struct fixture *f = context;
    assert_false(f->over);
    assert_true(weir__metadata_update__get_packed_size(update) < FRAME_BODY_MAX);
    assert_int_equal(update->full, f->parts == 0);
    for (size_t i = 0; i < update->n_streams; i++) {
        assert_int_equal(update->streams[i]->attributes->monitoring, update->streams[i]->id);
        f->policies += strlen(update->streams[i]->attributes->policy) == POLICY_BYTES;
    }
    f->streams += update->n_streams;
    if (update->n_shards > 0) {
        assert_int_equal(f->streams, STREAMS); /* each after its stream */
    }
    f->shards += update->n_shards;
    f->settings += update->settings != NULL;
    f->parts++;
    f->over = !update->partial;
    return STATUS_OK;
}

static void large_streams_come_in_parts_that_fit_a_frame(void **state)
{
    struct fixture *f = *state;
    make_streams(f);
    assert_int_equal(watch_load(f->watch, f->script.db), STATUS_OK);
    struct watch_request request = {.time_ms = 5};
    assert_int_equal(watch_emit(f->watch, &request, count, f), STATUS_OK);
    assert_true(f->over);
    assert_true(f->parts > 3);
    assert_int_equal(f->streams, STREAMS);
    assert_int_equal(f->policies, STREAMS);
    assert_int_equal(f->shards, 2 * STREAMS);
    assert_int_equal(f->settings, 1);
}

static Weir__MetadataUpdate *seen;
static enum status keep(void *context, const Weir__MetadataUpdate *update)
{
    (void)context;
    uint8_t packed[64 * 1024];
    size_t size = weir__metadata_update__pack(update, packed);
    weir__metadata_update__free_unpacked(seen, NULL);
    seen = weir__metadata_update__unpack(NULL, size, packed);
    return STATUS_OK;
}

static void settings_come_in_an_image_and_when_they_change(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(watch_load(f->watch, f->script.db), STATUS_OK);
    uint64_t version = watch_version(f->watch);
    struct watch_request request = {.from_version = version, .time_ms = 5};
    assert_int_equal(watch_emit(f->watch, &request, keep, f), STATUS_OK);
    assert_null(seen->settings);
    db_changes_clear(db_changes(f->script.db));
    Weir__ClusterSettings settings = WEIR__CLUSTER_SETTINGS__INIT;
    settings.keys_version = 7;
    db_begin(f->script.db);
    db_settings_put(f->script.db, &settings);
    assert_int_equal(db_commit(f->script.db, ++f->script.index, 0, NULL), STATUS_OK);
    take(f);
    assert_int_equal(watch_version(f->watch), version + 1);
    assert_int_equal(watch_emit(f->watch, &request, keep, f), STATUS_OK);
    assert_int_equal(seen->settings->keys_version, 7);
    request.from_version = 0;
    assert_int_equal(watch_emit(f->watch, &request, keep, f), STATUS_OK);
    assert_int_equal(seen->settings->keys_version, 7);
    weir__metadata_update__free_unpacked(seen, NULL);
    seen = NULL;
}

static void keys_that_encrypt_records_are_not_in_the_image(void **state)
{
    struct fixture *f = *state;
    uint8_t wrapped[] = {1, 2, 3};
    Weir__DataKey key = WEIR__DATA_KEY__INIT, *keys[] = {&key};
    Weir__StreamAttributes attributes = WEIR__STREAM_ATTRIBUTES__INIT;
    key.wrapped = (ProtobufCBinaryData){sizeof(wrapped), wrapped};
    attributes.data_keys = keys;
    attributes.n_data_keys = 1;
    (void)script_run(&f->script, "> create s\n");
    db_begin(f->script.db);
    db_attributes_put(f->script.db, 1, &attributes);
    assert_int_equal(db_commit(f->script.db, ++f->script.index, 0, NULL), STATUS_OK);
    assert_int_equal(watch_load(f->watch, f->script.db), STATUS_OK);
    assert_int_equal(watch_attributes(f->watch, 1)->n_data_keys, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(large_streams_come_in_parts_that_fit_a_frame, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(settings_come_in_an_image_and_when_they_change,
                                        open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(keys_that_encrypt_records_are_not_in_the_image,
                                        open_fixture, close_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
