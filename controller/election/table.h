/* What the elections know: shards by key, brokers by id. Private to the folder. Order of traversal
 * is the order of arrival, so that equal inputs give equal effects. */
#pragma once

#include "controller/election/election.h"
#include "controller/election/mutant.h"

enum { SLOTS_MAX = 2 * ELECTION_VOTERS_MAX };

/* A voter of cfg or prev_cfg, and what it answered to the fence of the row's epoch. */
struct slot {
    struct election_replica id;
    bool replied, certain;
    bool stale; /* of an earlier fence: only a mutant counts those */
    bool asked; /* a fence is out to the session that its broker has now */
    uint32_t last_epoch, holes;
    uint64_t end, boot, holes_end;
};

enum waiting {
    WAITING_NOTHING,
    WAITING_COMMIT,    /* a proposal is under way */
    WAITING_REPORTS,   /* ELECTING: fences are out */
    WAITING_PREFERRED, /* ELECTING: there is a quorum, and the preferred leader may reply soon */
    WAITING_OPENED,    /* ACTIVE: a grant is out */
};

struct shard {
    struct election_row row;
    uint32_t want_epoch; /* > row.epoch: an election of that number is wanted */
    bool opened;         /* ACTIVE_OK of row.epoch has come */
    bool pending;        /* is in election.pending */
    enum waiting waiting;
    uint64_t due_ms; /* when what we wait for is asked for again */
    uint32_t resend_ms;
    uint32_t leader; /* the broker that is counted as leading it, chosen or committed; 0: none */
    uint32_t avoid;  /* the broker that resigned: should not win this election; 0: none */
    uint32_t heir;   /* the broker that it named: wins among equal logs; 0: none */
    uint32_t
        resigned_by; /* whose resignation of stalling counted last, and until when it is kept */
    uint64_t resign_ms;
    uint32_t slot_count;
    struct slot slot[SLOTS_MAX];
};

struct broker {
    uint32_t id, disk_gen;
    uint64_t boot; /* of the session that is or was up */
    bool up, down; /* neither: not heard of yet since activation */
    uint32_t leading;
    bool unfit; /* should lead nothing if others can */
};

struct election {
    bool active;
    uint64_t deadline_ms;
    struct shard **shard; /* dense; a deleted one is replaced by the last */
    size_t shard_count, shard_capacity;
    uint32_t *index; /* open addressing: position in shard[] + 1, 0 is empty */
    size_t index_size;
    struct shard **pending; /* those that wait for something, at most shard_capacity */
    size_t pending_count;
    struct broker *broker;
    size_t broker_count, broker_capacity;
};

struct shard *table_find(const struct election *e, uint64_t key);
/* NULL: out of memory. */
struct shard *table_add(struct election *e, uint64_t key);
void table_remove(struct election *e, struct shard *s);
/* Forgets all shards and brokers; keeps the memory of the tables. */
void table_clear(struct election *e);
void table_release(struct election *e);

struct broker *table_broker(const struct election *e, uint32_t id); /* NULL: never heard of */
struct broker *table_broker_add(struct election *e, uint32_t id);   /* NULL: out of memory */

static inline bool same_replica(struct election_replica a, struct election_replica b)
{
    return a.broker == b.broker && (a.disk_gen == b.disk_gen || MUTANT(AMNESIAC_VOTES));
}

/* choice.c: R4 and R5. */
void slots_reset(struct shard *s);
struct slot *slot_of(struct shard *s, struct election_replica id);
bool config_has(const struct election_config *cfg, struct election_replica id);
/* `without`: as if that broker had not replied; 0: nobody. */
bool quorum_replied(const struct shard *s, uint32_t without);
/* Whom to grant row.epoch to; NULL when nobody who is up can have it. */
const struct slot *choose_leader(const struct election *e, const struct shard *s, uint32_t without);
/* Instead of `best`, whose log has holes, one that has none and as good a claim without it. */
const struct slot *choose_whole(const struct election *e, const struct shard *s,
                                const struct slot *best);
/* Whether a hole of its log lies above what everybody else who replied has, and somebody is silent.
 */
bool lacks_copies(const struct shard *s, const struct slot *best);
/* The voter's broker, when a message would reach that very replica; else NULL. */
const struct broker *reachable(const struct election *e, struct election_replica id);
/* Whether an election may help a leader that cannot reach a majority, which says so again and again
 * while it lasts. Notes that it was heard. */
bool hears_stalled(const struct election *e, struct shard *s, uint64_t now_ms, uint32_t broker);
/* Whether what was asked and answered for `old` counts no more for `row`. */
bool starts_afresh(const struct election_row *old, const struct election_row *row);
