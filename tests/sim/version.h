/* Brokers and controllers of two versions in one world. A part of world.h.
 *
 * In one seed of five each process draws whether it is of this version or of the one before, and
 * again whenever it starts: upgraded, rolled back, or as it was. What the version before does not
 * know is taken out of what it sends, and is not seen of what it gets (proto3: absent is zero); a
 * method that it does not know it says so of. What it did not do inside is left out as far as it is
 * part of the bargain: it tells its core of no holes, keeps no list of them, asks nobody whether it
 * leads, and knows no cluster time.
 *
 * The draws have a stream of their own: the other seeds are what they were. */
#pragma once

#include "tests/sim/world.h"

void version_init(struct world *w);
/* A process starts: of which version? */
void version_on_broker(struct world *w, struct broker *b);
void version_on_controller(struct world *w, uint32_t index);
/* By endpoint; clients are of this version. */
bool version_is_old(const struct world *w, uint32_t endpoint);
/* A message leaves, or arrives: what its sender, or its receiver, does not know is not in it. */
void version_on_send(const struct world *w, struct message *m);
void version_on_receive(struct world *w, struct message *m);
/* The upgrade is ended: whoever is old starts anew, one after another, as of this version, and
 * stays so. False: it was, or nobody is old. */
bool version_end(struct world *w);
void version_on_upgrade(struct world *w, struct broker *b, uint64_t boot);
/* How far ahead a leader stamps. The version before believes its own clock: in a mixed world that
 * is off by seconds, not by years (docs/testing.md). */
uint64_t version_clock_ms(const struct broker *b);
/* Some controller can be asked what time it is. */
bool version_has_cluster_time(const struct world *w, const struct broker *b);
