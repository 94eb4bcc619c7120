/* Raft messages on the wire: what is packed comes back, what would trip libraft up is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rng.h"
#include "controller/raft/message.h"

struct wire {
    struct buf body, attachment;
};

static void pack_body(struct wire *wire, const Weir__RaftMessage *message)
{
    size_t size = weir__raft_message__get_packed_size(message);
    assert_int_equal(buf_reserve(&wire->body, size + 1), STATUS_OK);
    wire->body.size = weir__raft_message__pack(message, wire->body.data);
}

static void pack(struct wire *wire, const struct raft_packet *packet)
{
    struct raft_frame *frame = calloc(1, sizeof(*frame));
    assert_non_null(frame);
    *wire = (struct wire){0};
    raft_frame_fill(frame, packet);
    pack_body(wire, &frame->body);
    for (uint32_t i = 0; i < frame->piece_count; i++) {
        assert_int_equal(
            buf_append(&wire->attachment, frame->pieces[i].data, frame->pieces[i].size), STATUS_OK);
    }
    free(frame);
}

static enum status parse(const struct wire *wire, struct raft_packet *out)
{
    return raft_packet_parse(buf_bytes(&wire->body), buf_bytes(&wire->attachment), out);
}

static void wire_release(struct wire *wire)
{
    buf_release(&wire->body);
    buf_release(&wire->attachment);
}

static void entries_come_back_in_one_batch(void **state)
{
    (void)state;
    char one[] = "first", three[] = "the third";
    struct raft_entry entries[3] = {
        {.term = 3, .type = RAFT_COMMAND, .buf = {.base = one, .len = 5}  },
        {.term = 4, .type = RAFT_BARRIER, .buf = {.base = NULL, .len = 0} },
        {.term = 4, .type = RAFT_COMMAND, .buf = {.base = three, .len = 9}},
    };
    struct raft_packet packet = {.type = RAFT_APPEND_ENTRIES, .term = 7};
    packet.message.type = RAFT_APPEND_ENTRIES;
    packet.message.append_entries = (struct raft_append_entries){.term = 7,
                                                                 .prev_log_index = 10,
                                                                 .prev_log_term = 3,
                                                                 .leader_commit = 9,
                                                                 .entries = entries,
                                                                 .n_entries = 3};
    struct wire wire;
    struct raft_packet back;
    pack(&wire, &packet);
    assert_int_equal(parse(&wire, &back), STATUS_OK);
    const struct raft_append_entries *append = &back.message.append_entries;
    assert_int_equal(append->term, 7);
    assert_int_equal(append->prev_log_index, 10);
    assert_int_equal(append->prev_log_term, 3);
    assert_int_equal(append->leader_commit, 9);
    assert_int_equal(append->n_entries, 3);
    assert_memory_equal(append->entries[0].buf.base, "first", 5);
    assert_int_equal(append->entries[1].type, RAFT_BARRIER);
    assert_memory_equal(append->entries[2].buf.base, "the third", 9);
    assert_ptr_equal(append->entries[0].batch, append->entries[2].batch);
    raft_packet_release(&back);
    wire_release(&wire);
}

static void votes_and_answers_come_back(void **state)
{
    (void)state;
    struct raft_packet packet = {.type = RAFT_REQUEST_VOTE, .term = 8}, back;
    packet.message.type = RAFT_REQUEST_VOTE;
    packet.message.request_vote = (struct raft_request_vote){.version = 2,
                                                             .term = 8,
                                                             .candidate_id = 3,
                                                             .last_log_index = 77,
                                                             .last_log_term = 6,
                                                             .disrupt_leader = true,
                                                             .pre_vote = true};
    struct wire wire;
    pack(&wire, &packet);
    assert_int_equal(parse(&wire, &back), STATUS_OK);
    assert_int_equal(back.message.request_vote.candidate_id, 3);
    assert_int_equal(back.message.request_vote.last_log_index, 77);
    assert_true(back.message.request_vote.disrupt_leader && back.message.request_vote.pre_vote);
    assert_int_equal(back.message.request_vote.version, 2);
    wire_release(&wire);

    packet = (struct raft_packet){.type = RAFT_APPEND_ENTRIES_RESULT, .term = 8};
    packet.message.type = RAFT_APPEND_ENTRIES_RESULT;
    packet.message.append_entries_result = (struct raft_append_entries_result){
        .version = 2, .term = 8, .rejected = 5, .last_log_index = 4, .capacity = 11};
    pack(&wire, &packet);
    assert_int_equal(parse(&wire, &back), STATUS_OK);
    assert_int_equal(back.message.append_entries_result.rejected, 5);
    assert_int_equal(back.message.append_entries_result.last_log_index, 4);
    wire_release(&wire);

    packet = (struct raft_packet){.type = RAFT_READ_PROBE, .term = 8, .round = 1ULL << 40};
    pack(&wire, &packet);
    assert_int_equal(parse(&wire, &back), STATUS_OK);
    assert_int_equal(back.round, 1ULL << 40);
    wire_release(&wire);
}

static void chunks_of_a_snapshot_come_back_with_its_configuration(void **state)
{
    (void)state;
    struct raft_packet packet = {.type = RAFT_INSTALL_SNAPSHOT,
                                 .term = 8,
                                 .snapshot_index = 100,
                                 .snapshot_bytes = 1000,
                                 .chunk_offset = 10,
                                 .chunk = bytes_of("chunk", 5)};
    packet.message.type = RAFT_INSTALL_SNAPSHOT;
    struct raft_install_snapshot *install = &packet.message.install_snapshot;
    install->last_index = 100;
    install->last_term = 7;
    install->conf_index = 1;
    packet.snapshot_hash[31] = 0xee;
    raft_configuration_init(&install->conf);
    assert_int_equal(raft_configuration_add(&install->conf, 1, "controller-1", RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_add(&install->conf, 2, "controller-2", RAFT_SPARE), 0);
    struct wire wire;
    struct raft_packet back;
    pack(&wire, &packet);
    raft_configuration_close(&install->conf);
    assert_int_equal(parse(&wire, &back), STATUS_OK);
    assert_int_equal(back.message.install_snapshot.conf.n, 2);
    assert_string_equal(back.message.install_snapshot.conf.servers[1].address, "controller-2");
    assert_int_equal(back.message.install_snapshot.conf.servers[1].role, RAFT_SPARE);
    assert_int_equal(back.snapshot_bytes, 1000);
    assert_int_equal(back.snapshot_hash[31], 0xee);
    assert_int_equal(back.chunk.size, 5);
    raft_packet_release(&back);
    wire_release(&wire);
}

static void refuse(Weir__RaftMessage *message, const char *attachment)
{
    struct wire wire = {0};
    struct raft_packet packet;
    pack_body(&wire, message);
    assert_int_equal(buf_append(&wire.attachment, attachment, strlen(attachment)), STATUS_OK);
    assert_int_equal(parse(&wire, &packet), STATUS_INVALID);
    wire_release(&wire);
}

static void what_would_trip_libraft_up_is_refused(void **state)
{
    (void)state;
    Weir__RaftEntry entry = WEIR__RAFT_ENTRY__INIT;
    Weir__RaftEntry *entries[RAFT_BATCH_ENTRIES + 1];
    Weir__RaftMessage message = WEIR__RAFT_MESSAGE__INIT;
    for (int i = 0; i <= RAFT_BATCH_ENTRIES; i++) {
        entries[i] = &entry;
    }
    message.type = RAFT_APPEND_ENTRIES;
    message.term = 5;
    message.prev_log_index = 3;
    message.prev_log_term = 2;
    message.entries = entries;
    message.n_entries = 1;
    entry.term = 3;
    entry.type = RAFT_COMMAND;
    entry.bytes = 4;
    struct wire wire = {0};
    struct raft_packet packet;
    pack_body(&wire, &message);
    assert_int_equal(buf_append(&wire.attachment, "data", 4), STATUS_OK);
    assert_int_equal(parse(&wire, &packet), STATUS_OK); /* the one that the others differ from */
    raft_packet_release(&packet);
    wire_release(&wire);

    refuse(&message, "dat");
    refuse(&message, "data and more");
    entry.term = 1; /* falls */
    refuse(&message, "data");
    entry.term = 6; /* of the future */
    refuse(&message, "data");
    entry.term = 0;
    refuse(&message, "data");
    entry.term = 3;
    entry.type = 9;
    refuse(&message, "data");
    entry.type = RAFT_CHANGE; /* "data" is no configuration */
    refuse(&message, "data");
    entry.type = RAFT_COMMAND;
    message.prev_log_term = 0;
    refuse(&message, "data");
    message.prev_log_term = 2;
    message.term = 0;
    refuse(&message, "data");
    message.term = UINT64_MAX;
    refuse(&message, "data");
    message.term = 5;
    message.n_entries = RAFT_BATCH_ENTRIES + 1;
    entry.bytes = 0;
    refuse(&message, "");
    message.n_entries = 0;
    refuse(&message, "data");
    message.type = 99;
    refuse(&message, "");
    message.type = RAFT_INSTALL_SNAPSHOT; /* without anything of it */
    refuse(&message, "data");
    message.type = RAFT_REQUEST_VOTE; /* without a candidate */
    refuse(&message, "");
}

static void noise_is_refused_or_harmless(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        uint8_t body[64], attachment[32];
        size_t body_size = rng_below(&rng, sizeof(body));
        for (size_t at = 0; at < sizeof(body); at++) {
            body[at] = (uint8_t)rng_next(&rng);
        }
        body[0] = 0x08; /* a type, often a known one */
        body[1] = (uint8_t)rng_below(&rng, 8);
        memset(attachment, 1, sizeof(attachment));
        struct raft_packet packet;
        if (raft_packet_parse(bytes_of(body, body_size),
                              bytes_of(attachment, rng_below(&rng, sizeof(attachment))),
                              &packet) == STATUS_OK) {
            raft_packet_release(&packet);
        }
    }
}

static void malformed_configurations_are_found(void **state)
{
    (void)state;
    struct raft_configuration configuration;
    struct raft_buffer encoded;
    raft_configuration_init(&configuration);
    assert_int_equal(raft_configuration_add(&configuration, 1, "controller-1", RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_encode(&configuration, &encoded), 0);
    raft_configuration_close(&configuration);
    uint8_t *bytes = encoded.base;
    assert_true(raft_configuration_is_sound(bytes_of(bytes, encoded.len)));
    for (size_t size = 0; size < 31; size++) { /* 9 + 8 + 13 + 1 */
        assert_false(raft_configuration_is_sound(bytes_of(bytes, size)));
    }
    bytes[1] = 200; /* servers */
    assert_false(raft_configuration_is_sound(bytes_of(bytes, encoded.len)));
    bytes[1] = 0;
    assert_false(raft_configuration_is_sound(bytes_of(bytes, encoded.len)));
    raft_free(encoded.base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back_in_one_batch),
        cmocka_unit_test(votes_and_answers_come_back),
        cmocka_unit_test(chunks_of_a_snapshot_come_back_with_its_configuration),
        cmocka_unit_test(what_would_trip_libraft_up_is_refused),
        cmocka_unit_test(noise_is_refused_or_harmless),
        cmocka_unit_test(malformed_configurations_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
