/* As script.h, with more lines:
 *
 *     "> control orders retention hours=48"   a change of a stream; "control - commit on=1" of the
 * account
 *     "> settled 1 change=2", "> key create ID name=joe", "> token", "> make orders mode=1
 * tags=a:b"
 *     "> attributes 1", "> settings", "> keys"   print rows */
#pragma once

#include "tests/unit/controller/command/script.h"

/* Runs the lines and fails the test when the transcript differs from `text`. */
void control_check(struct script *script, const char *text);
