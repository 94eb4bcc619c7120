/* Leaders are asked what is newest (tip.c). A part of world.h. */
#pragma once

#include "tests/sim/world.h"

void tip_ask(struct world *w, struct broker *b, uint32_t shard);
void tip_on_confirm(struct world *w, struct broker *b, const struct message *m);
void tip_on_confirmed(struct world *w, struct broker *b, const struct message *m);
