#include "hub/model_ref.h"

#include "support/expect.h"

namespace facet::hub {
namespace {

TEST(ModelRef, IsReadAndWrittenBack) {
  for (const char* text : {"owner/repo", "owner/repo:Q4_K_M", "owner/repo@main:UD-Q4_K_XL", "owner/repo@refs/pr/3",
                           "a/b@0123456789012345678901234567890123456789:safetensors", "o_w-n.er/re.po_1"}) {
    const Result<ModelRef> ref = ModelRef::parse(text);
    ASSERT_OK(ref);
    EXPECT_EQ(ref->text(), text);
  }
  const Result<ModelRef> ref = ModelRef::parse("google/gemma-4@feature/x:Q8_0");
  ASSERT_OK(ref);
  EXPECT_EQ(ref->repo, "google/gemma-4");
  EXPECT_EQ(ref->revision, "feature/x");
  EXPECT_EQ(ref->tag, "Q8_0");
}

TEST(ModelRef, RefusesWhatIsNoName) {
  for (const char* text :
       {"",       "/",       "a",        "a/",       "/a",       "a/b/c",   "a//b",   "./a",
        "../a",   "a/..",    "a/.b",     "a/b.",     "a/-b",     "a--b/c",  "a..b/c", "a/b c",
        "a/b\n",  "a/b.git", "~/a",      "a/b:",     "a/b:Q 4",  "a/b:Q/4", "a/b@",   "a/b@:Q4",
        "a/b@/x", "a/b@x/",  "a/b@../x", "a/b@x//y", "a/b@x..y", "a/b@.x",  "a/ä",    "https://huggingface.co/a/b"}) {
    const Result<ModelRef> ref = ModelRef::parse(text);
    ASSERT_FALSE(ref.ok()) << text;
    EXPECT_EQ(ref.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(ref.error().expected.find("owner/repo"), std::string::npos);
  }
  EXPECT_TRUE(is_repo_id("a/" + std::string(96, 'b')));
  EXPECT_FALSE(is_repo_id("a/" + std::string(97, 'b')));
  EXPECT_FALSE(ModelRef::parse("a/b@" + std::string(257, 'x')).ok());
  EXPECT_FALSE(ModelRef::parse("a/b:" + std::string(129, 'x')).ok());
}

TEST(ModelRef, PathsStayInside) {
  for (const char* path : {"a", "a/b.gguf", "..a/b..", "a b/ä.gguf", "..."}) EXPECT_TRUE(is_inner_path(path)) << path;
  for (const char* path : {"", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/../b", "./a", "a\\b", "a\nb", "\x7f"})
    EXPECT_FALSE(is_inner_path(path)) << path;
  EXPECT_FALSE(is_inner_path(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_inner_path(std::string(256, 'a')));
  std::string deep = "a";
  while (deep.size() <= 1024) deep += "/a";
  EXPECT_FALSE(is_inner_path(deep));
}

TEST(ModelRef, HashesAreLowerCaseHexadecimal) {
  EXPECT_TRUE(is_commit("0123456789abcdef0123456789abcdef01234567"));
  EXPECT_FALSE(is_commit("0123456789ABCDEF0123456789ABCDEF01234567"));
  EXPECT_FALSE(is_commit("0123456789abcdef0123456789abcdef0123456"));
  EXPECT_FALSE(is_commit("g123456789abcdef0123456789abcdef01234567"));
  EXPECT_TRUE(is_object_id(std::string(64, '0')));
  EXPECT_FALSE(is_object_id(std::string(63, '0')));
}

}  // namespace
}  // namespace facet::hub
