/* Makes a failing seed smaller: fewer kinds of faults, a shorter run. */
#pragma once

#include "tests/sim/world.h"

/* False: the seed passes. Prints what turned out not to matter. */
bool minimise(uint64_t seed, struct limits *out);
/* The command that runs what is left, and its --limits. */
void minimise_print(uint64_t seed, const struct limits *limits);
bool minimise_parse(const char *text, struct limits *out);
