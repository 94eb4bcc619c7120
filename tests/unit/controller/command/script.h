/* Commands written as lines of text, and what they did as text again.
 *
 *     "> create orders shards=2 request=7"   a command; ">>" puts it in the entry of the next one
 *     "# restart"                            closes and opens the database
 *
 * Each command line is followed in the transcript by its result; "show" prints rows. */
#pragma once

#include "controller/db/db.h"

enum { SCRIPT_TRANSCRIPT_MAX = 64 * 1024 };

struct script {
    struct db *db;
    char dir[64], path[96];
    uint64_t index;
    char *out; /* the transcript so far */
    size_t used;
    void (*applied)(void *data); /* after every entry, while db_changes() has its changes */
    void *data;
};

void script_open(struct script *script);
void script_close(struct script *script);
void script_restart(struct script *script);

/* Runs the command lines of `text` (lines beginning with ">") and skips its others; returns the
 * whole transcript, in the form of `text`, owned by the script. */
const char *script_run(struct script *script, const char *text);

/* Runs `text` and fails the test when the transcript differs from it. */
void script_check(struct script *script, const char *text);
