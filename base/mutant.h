/* Rules taken out on purpose, one at a time, to see that the tests notice. In a build of ours
 * MUTANT_IS() is the constant 0, and the compiler drops what it guards. The numbers are those of
 * broker/replica/mutant.h; whoever has a mutant names it in a header of its own.
 *
 * -DWEIR_MUTANTS: all of them in one program, which says in weir_mutant which rule is missing (the
 * simulator). -DWEIR_MUTANT=n: only this one (the search of the model, which runs for long). */
#pragma once

#if defined(WEIR_MUTANTS)
extern int weir_mutant; /* 0: none. Defined by the program */
#    define MUTANT_IS(number) (weir_mutant == (number))
#elif defined(WEIR_MUTANT)
#    define MUTANT_IS(number) (WEIR_MUTANT == (number))
#else
#    define MUTANT_IS(number) 0
#endif
