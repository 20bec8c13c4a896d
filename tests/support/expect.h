// Matchers for Result, shared by all tests.
#pragma once

#include <gtest/gtest.h>

#include "facet/result.h"

// ASSERT_OK(result): prints the message when it is an Error.
#define ASSERT_OK(...)                                                      \
  do {                                                                      \
    const auto& facet_ok_result = (__VA_ARGS__);                            \
    ASSERT_TRUE(facet_ok_result.ok()) << facet_ok_result.error().message(); \
  } while (0)
#define EXPECT_OK(...)                                                      \
  do {                                                                      \
    const auto& facet_ok_result = (__VA_ARGS__);                            \
    EXPECT_TRUE(facet_ok_result.ok()) << facet_ok_result.error().message(); \
  } while (0)
