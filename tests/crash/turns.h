/* Threads that take turns: between turns_begin() and turns_end() only one of this process's threads
 * runs at a time, and who runs next is drawn from a seed. So a recording is the same for the same
 * seed, on every machine.
 *
 * The program is linked with --wrap for what threads wait by (CMakeLists.txt): pthread_create,
 * pthread_join, pthread_mutex_lock, pthread_mutex_unlock, pthread_cond_wait, pthread_cond_signal,
 * pthread_cond_broadcast, poll. Turns change there, and at turns_pass(), which the recorder calls
 * before everything that it records. Threads that were there before turns_begin(), but the caller,
 * take no part; those that began meanwhile must have been joined before turns_end(). */
#pragma once

#include <stdint.h>

void turns_begin(uint64_t seed);
void turns_end(void);
void turns_pass(void); /* nothing, outside of turns */
