#include "controller/watch/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/controller/command/script.h"

struct fixture {
    struct script script;
    struct watch *watch;
    char text[64 * 1024]; /* the updates that were emitted */
    size_t used, parts, shards;
    enum status answer; /* of the next emit */
};

static void take_changes(void *data)
{
    struct fixture *f = data;
    assert_int_equal(watch_apply(f->watch, f->script.db, db_changes(f->script.db)), STATUS_OK);
}

static int open_fixture(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    script_open(&fixture.script);
    fixture.watch = watch_new();
    assert_non_null(fixture.watch);
    fixture.script.applied = take_changes;
    fixture.script.data = &fixture;
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    watch_free(f->watch);
    script_close(&f->script);
    return 0;
}

static void say(struct fixture *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct fixture *f, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(f->text + f->used, sizeof(f->text) - f->used, format, arguments);
    va_end(arguments);
    assert_true(size >= 0 && (size_t)size < sizeof(f->text) - f->used);
    f->used += (size_t)size;
}

/* "full 0->4 brokers 1 2 streams 1=s shards 1/0@1" */
static enum status print(void *context, const Weir__MetadataUpdate *u)
{
    struct fixture *f = context;
    f->parts++;
    f->shards += u->n_shards;
    say(f, "%s %llu->%llu", u->full ? "full" : "delta", (unsigned long long)u->from_version,
        (unsigned long long)u->version);
    if (u->n_shards > 100) {
        say(f, " %zu shards%s\n", u->n_shards, u->partial ? " partial" : "");
        return f->answer;
    }
    for (size_t i = 0; i < u->n_brokers; i++) {
        say(f, "%s%u%s", i == 0 ? " brokers " : ",", u->brokers[i]->id,
            u->brokers[i]->alive ? "" : "(dead)");
    }
    for (size_t i = 0; i < u->n_streams; i++) {
        say(f, "%s%u=%s", i == 0 ? " streams " : ",", u->streams[i]->id, u->streams[i]->name);
    }
    for (size_t i = 0; i < u->n_shards; i++) {
        say(f, "%s%u/%u@%u", i == 0 ? " shards " : ",", u->shards[i]->stream, u->shards[i]->number,
            u->shards[i]->epoch);
    }
    for (size_t i = 0; i < u->n_deleted_streams; i++) {
        say(f, "%s%u", i == 0 ? " gone " : ",", u->deleted_streams[i]);
    }
    say(f, "%s\n", u->partial ? " partial" : "");
    return f->answer;
}

static void expect(struct fixture *f, uint64_t from, const char *stream, const char *text)
{
    f->used = f->parts = f->shards = 0;
    f->text[0] = '\0';
    struct watch_request request = {.from_version = from, .stream = stream, .time_ms = 5};
    assert_int_equal(watch_emit(f->watch, &request, print, f), STATUS_OK);
    assert_string_equal(f->text, text);
}

static const char start[] = "> bootstrap\n> broker 1 zone=a\n> broker 2 zone=b\n"
                            "> broker 3 zone=c\n> create s shards=2\n";

static void an_image_has_all_rows_and_a_delta_only_the_changed(void **state)
{
    struct fixture *f = *state;
    expect(f, 0, NULL, "full 0->0\n");
    (void)script_run(&f->script, start);
    expect(f, 0, NULL, "full 0->5 brokers 1,2,3 streams 1=s shards 1/0@1,1/1@1\n");
    expect(f, 3, NULL, "delta 3->5 brokers 3 streams 1=s shards 1/0@1,1/1@1\n");
    expect(f, 5, NULL, "delta 5->5\n");
    (void)script_run(&f->script, "> down 2\n> electing 1/1 epoch=3\n> electing 1/1 epoch=4\n");
    expect(f, 5, NULL, "delta 5->8 brokers 2(dead) shards 1/1@4\n");
    expect(f, 7, NULL, "delta 7->8 shards 1/1@4\n");
}

static void a_version_that_is_not_known_gets_an_image(void **state)
{
    struct fixture *f = *state;
    (void)script_run(&f->script, start);
    expect(f, 6, NULL, "full 0->5 brokers 1,2,3 streams 1=s shards 1/0@1,1/1@1\n");
    assert_int_equal(watch_load(f->watch, f->script.db), STATUS_OK);
    expect(f, 4, NULL, "full 0->5 brokers 1,2,3 streams 1=s shards 1/0@1,1/1@1\n");
    expect(f, 5, NULL, "delta 5->5\n");
}

static void a_deleted_stream_takes_its_shards_along(void **state)
{
    struct fixture *f = *state;
    (void)script_run(&f->script, start);
    (void)script_run(&f->script, "> create t\n> delete s\n> dropped 1 1/0 1/1\n"
                                 "> dropped 2 1/0 1/1\n> dropped 3 1/0 1/1\n");
    expect(f, 5, NULL, "delta 5->8 streams 2=t shards 2/0@1 gone 1\n");
    expect(f, 0, NULL, "full 0->8 brokers 1,2,3 streams 2=t shards 2/0@1\n");
    assert_null(watch_shard(f->watch, db_shard_id(1, 1)));
    assert_null(watch_stream_find(f->watch, "s"));
}

static void one_stream_can_be_asked_for(void **state)
{
    struct fixture *f = *state;
    (void)script_run(&f->script, start);
    (void)script_run(&f->script, "> create t\n");
    expect(f, 0, "t", "full 0->6 brokers 1,2,3 streams 2=t shards 2/0@1\n");
    struct watch_request request = {.stream = "nothing"};
    assert_int_equal(watch_emit(f->watch, &request, print, f), STATUS_NOT_FOUND);
}

static void a_loaded_image_equals_the_one_that_grew(void **state)
{
    struct fixture *f = *state;
    (void)script_run(&f->script, start);
    (void)script_run(&f->script, "> create t shards=9\n> delete s\n> active 2/0\n> down 1\n");
    struct watch *loaded = watch_new();
    assert_int_equal(watch_load(loaded, f->script.db), STATUS_OK);
    size_t count = 0, loaded_count = 0;
    const struct db_shard *a = watch_shards(f->watch, &count);
    const struct db_shard *b = watch_shards(loaded, &loaded_count);
    assert_int_equal(count, 11);
    assert_int_equal(loaded_count, 11);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(a[i].id, b[i].id);
        assert_int_equal(a[i].phase, b[i].phase);
        assert_int_equal(a[i].cfg.voter[0].broker, b[i].cfg.voter[0].broker);
    }
    assert_int_equal(watch_version(loaded), watch_version(f->watch));
    watch_free(loaded);
}

static void a_long_image_comes_in_parts(void **state)
{
    struct fixture *f = *state;
    (void)script_run(&f->script, "> bootstrap\n> broker 1 zone=a\n> broker 2 zone=b\n"
                                 "> broker 3 zone=c\n> create s shards=10000\n"
                                 "> create t shards=6500\n");
    expect(f, 0, NULL,
           "full 0->6 8000 shards partial\n"
           "delta 6->6 8000 shards partial\n"
           "delta 6->6 500 shards\n");
    assert_int_equal(f->shards, 16500);
    f->answer = STATUS_BUSY;
    f->parts = 0;
    struct watch_request request = {0};
    assert_int_equal(watch_emit(f->watch, &request, print, f), STATUS_BUSY);
    assert_int_equal(f->parts, 1);
}

static void a_history_that_overflows_forgets_whole_versions(void **state)
{
    struct fixture *f = *state;
    (void)script_run(&f->script, "> bootstrap\n> broker 1 zone=a\n> broker 2 zone=b\n"
                                 "> broker 3 zone=c\n");
    uint64_t early = watch_version(f->watch);
    (void)script_run(&f->script, "> create s shards=10000\n");
    char line[64];
    /* 26 times 10,000 shards and a stream: more than the history holds. */
    for (int i = 0; i < 26; i++) {
        (void)snprintf(line, sizeof(line), "> create s%d shards=10000\n", i);
        (void)script_run(&f->script, line);
    }
    struct watch_request request = {.from_version = early};
    f->used = 0;
    assert_int_equal(watch_emit(f->watch, &request, print, f), STATUS_OK);
    assert_int_equal(strncmp(f->text, "full", 4), 0);
    request.from_version = watch_version(f->watch) - 2;
    f->used = f->shards = 0;
    assert_int_equal(watch_emit(f->watch, &request, print, f), STATUS_OK);
    assert_int_equal(strncmp(f->text, "delta", 5), 0);
    assert_int_equal(f->shards, 20000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        TEST(an_image_has_all_rows_and_a_delta_only_the_changed),
        TEST(a_version_that_is_not_known_gets_an_image),
        TEST(a_deleted_stream_takes_its_shards_along),
        TEST(one_stream_can_be_asked_for),
        TEST(a_loaded_image_equals_the_one_that_grew),
        TEST(a_long_image_comes_in_parts),
        TEST(a_history_that_overflows_forgets_whole_versions),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
