/* Records that a broker sends as they are committed: one SUBSCRIBE instead of many READs. What the
 * broker may send ahead is granted in bytes, and granted again as gets take it. */
#include "client/reader/reader.h"

enum { SILENCE_MS = 6000 /* a broker says something every 1.5 s */ };

void reader_push_init(struct weir_reader *reader, bool wanted)
{
    reader->push.wanted = wanted;
    list_init(&reader->push.queue);
}

static void on_silence(struct net_timer *timer)
{
    struct weir_reader *reader = CONTAINER_OF(timer, struct weir_reader, push.silence);
    reader_push_end(reader, STATUS_TIMEOUT);
}

static void expect_more(struct weir_reader *reader)
{
    handle_timer(reader->client, &reader->push.silence, handle_now_ms() + SILENCE_MS, on_silence);
}

void reader_ask_push(struct weir_reader *reader)
{
    struct reader_push *push = &reader->push;
    struct session *session = reader_choose(reader);
    if (session == NULL || push->granting) {
        reader_back_off(reader);
        return;
    }
    handle_random(&push->id, sizeof(push->id));
    push->over = false;
    push->fault = STATUS_OK;
    push->owed = 0;
    Weir__Subscribe body = WEIR__SUBSCRIBE__INIT;
    body.shard = (uint64_t)reader->stream << 32 | reader->shard;
    body.offset = reader->offset;
    body.id = push->id;
    body.credit = reader->read_bytes;
    body.max_bytes = reader->read_bytes;
    enum status status =
        session_call(session, RPC_SUBSCRIBE, (struct session_payload){.body = &body.base}, 0,
                     &reader->request, reader_on_reply);
    if (status == STATUS_OK) {
        reader->asked = ASK_PUSH;
        expect_more(reader);
    } else if (status == STATUS_DENIED) {
        reader_fail(reader, status, "the certificate's role may not read");
    } else {
        reader_back_off(reader);
    }
}

bool reader_push_reply(struct weir_reader *reader, bool more, enum status *status)
{
    struct reader_push *push = &reader->push;
    if (more) {
        if (!push->over) {
            expect_more(reader);
        }
        return !push->over;
    }
    net_timer_stop(reader->client->loop, &push->silence);
    if (push->over) {
        *status = push->fault != STATUS_OK ? push->fault : STATUS_CANCELLED;
    }
    push->over = true;
    return true;
}

void reader_push_end(struct weir_reader *reader, enum status fault)
{
    struct reader_push *push = &reader->push;
    if (!push->over) {
        push->over = true;
        push->fault = fault;
        net_timer_stop(reader->client->loop, &push->silence);
        session_cancel(&reader->request);
    }
}

static void grant(struct weir_reader *reader);

static void on_granted(struct session_request *request, const struct session_reply *reply)
{
    struct weir_reader *reader = CONTAINER_OF(request, struct weir_reader, push.grant);
    (void)reply; /* when it failed, so does the subscription */
    reader->push.granting = false;
    grant(reader);
    reader_end_if_over(reader);
}

/* Half of the credit at a time. */
static void grant(struct weir_reader *reader)
{
    struct reader_push *push = &reader->push;
    if (push->granting || push->over || reader->closing || reader->asked != ASK_PUSH ||
        push->owed < reader->read_bytes / 2 || reader->request.session == NULL) {
        return;
    }
    Weir__SubscribeCredit body = WEIR__SUBSCRIBE_CREDIT__INIT;
    body.id = push->id;
    body.bytes = push->owed;
    enum status status = session_call(reader->request.session, RPC_SUBSCRIBE_CREDIT,
                                      (struct session_payload){.body = &body.base}, SILENCE_MS,
                                      &push->grant, on_granted);
    if (status == STATUS_OK) {
        push->granting = true;
        push->owed = 0;
    } else {
        reader_push_end(reader, STATUS_UNAVAILABLE); /* it would starve */
    }
}

void reader_push_taken(struct weir_reader *reader, size_t bytes)
{
    if (reader->asked == ASK_PUSH) {
        reader->push.owed += bytes;
        grant(reader);
    }
}

void reader_push_stop(struct weir_reader *reader)
{
    net_timer_stop(reader->client->loop, &reader->push.silence);
    reader->push.over = true;
    if (reader->push.granting) {
        session_cancel(&reader->push.grant);
    }
}
