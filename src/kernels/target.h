// Turns instruction-set features on for the functions between the two macros, and only for them: no inline library
// function is ever compiled for a machine that lacks them. Use after all includes.
//
//   FACET_TARGET_BEGIN("avx2,fma,f16c")
//   namespace facet::kernels::avx2 { … }
//   FACET_TARGET_END
#pragma once

#define FACET_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define FACET_TARGET_BEGIN(features) \
  FACET_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define FACET_TARGET_END FACET_PRAGMA(clang attribute pop)
#else
#define FACET_TARGET_BEGIN(features) FACET_PRAGMA(GCC push_options) FACET_PRAGMA(GCC target(features))
#define FACET_TARGET_END FACET_PRAGMA(GCC pop_options)
#endif
