// The type table.
#include "tensor/dtype.h"

#include <gtest/gtest.h>

namespace facet {
namespace {

TEST(DType, TableIsInTheOrderOfTheEnumeration) {
  int i = 0;
  for (const DTypeInfo& type : all_dtypes()) EXPECT_EQ(static_cast<int>(type.type), i++) << type.name;
}

TEST(DType, FindsByEveryName) {
  for (const DTypeInfo& type : all_dtypes()) {
    EXPECT_EQ(dtype_named(type.name), type.type);
    if (type.ggml_id >= 0) {
      EXPECT_EQ(dtype_of_ggml(type.ggml_id), type.type);
    }
    if (type.safetensors != nullptr) {
      EXPECT_EQ(dtype_of_safetensors(type.safetensors), type.type);
    }
  }
  EXPECT_EQ(dtype_named("q4_k"), DType::q4_k);
  for (int removed : {4, 5, 31, 32, 33, 36, 37, 38, -1, 43}) EXPECT_FALSE(dtype_of_ggml(removed)) << removed;
}

TEST(DType, RowBytesFollowTheBlocks) {
  EXPECT_EQ(row_bytes(DType::q4_k, 512), 288);
  EXPECT_EQ(row_bytes(DType::q8_0, 64), 68);
  EXPECT_EQ(row_bytes(DType::bf16, 3), 6);
}

}  // namespace
}  // namespace facet
