// How the vector kernels ask the compiler for the loops they mean.
#pragma once

#if defined(FACET_EMULATE_AVX512)  // there, unrolling costs minutes of compilation
#define FACET_UNROLL
#define FACET_INLINE inline
#elif defined(__clang__)
#define FACET_UNROLL _Pragma("unroll")
#define FACET_INLINE [[gnu::always_inline]] inline
#else
#define FACET_UNROLL _Pragma("GCC unroll 16")
#define FACET_INLINE [[gnu::always_inline]] inline
#endif
