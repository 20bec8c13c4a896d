#include "hub/answers.h"

#include "base/strings.h"
#include "support/expect.h"

namespace facet::hub {
namespace {

const std::string kSha1(40, 'a'), kSha256(64, 'b');

TEST(Answers, RefsHaveNamesAndCommits) {
  const std::string json =
      cat(R"({"branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": ")", kSha1,
          R"("}, {"name": "../x", "targetCommit": ")", kSha1,
          R"("}, {"name": "y", "targetCommit": "12"}, 7], "tags": [{"name": "v1", "targetCommit": ")", kSha1,
          R"("}], "converts": []})");
  const Result<Refs> refs = parse_refs(json, "owner/repo");
  ASSERT_OK(refs);
  ASSERT_EQ(refs->branches.size(), 1u);
  EXPECT_EQ(refs->branches[0].name, "main");
  EXPECT_EQ(refs->branches[0].commit, kSha1);
  ASSERT_EQ(refs->tags.size(), 1u);
  EXPECT_EQ(parse_refs("[]", "x").error().code, ErrorCode::corrupt);
  EXPECT_TRUE(parse_refs("{}", "x")->branches.empty());
}

TEST(Answers, LargeFilesAreNamedByTheHashOfTheirContent) {
  const std::string json =
      cat(R"([{"type": "directory", "path": "sub", "oid": ")", kSha1,
          R"("}, {"type": "file", "path": "a.txt", "size": 3, "oid": ")", kSha1,
          R"("}, {"type": "file", "path": "sub/b.gguf", "size": 134, "oid": ")", kSha1, R"(", "lfs": {"oid": ")",
          kSha256, R"(", "size": 5000000000}}, {"type": "file", "path": "c", "size": 1, "oid": "sha256:)", kSha256,
          R"("}, {"type": "file", "path": "no-id", "size": 1}])");
  const Result<std::vector<RepoFile>> files = parse_tree(json, "owner/repo");
  ASSERT_OK(files);
  const std::vector<RepoFile> expected = {{"a.txt", 3, kSha1}, {"sub/b.gguf", 5000000000, kSha256}, {"c", 1, kSha256}};
  EXPECT_EQ(*files, expected);
}

TEST(Answers, AMalformedListIsRefused) {
  for (const std::string& json : {std::string("{}"), std::string("[1]"), std::string("[{"),
                                  cat(R"([{"type": "file", "path": "../a", "size": 1, "oid": ")", kSha1, R"("}])"),
                                  cat(R"([{"type": "file", "size": 1, "oid": ")", kSha1, R"("}])"),
                                  cat(R"([{"type": "file", "path": "a", "size": -1, "oid": ")", kSha1, R"("}])"),
                                  cat(R"([{"type": "file", "path": "a", "size": 1.5, "oid": ")", kSha1, R"("}])"),
                                  cat(R"([{"type": "file", "path": "a", "oid": ")", kSha1, R"("}])")}) {
    const Result<std::vector<RepoFile>> files = parse_tree(json, "owner/repo");
    ASSERT_FALSE(files.ok()) << json;
    EXPECT_EQ(files.error().code, ErrorCode::corrupt) << json;
    EXPECT_NE(files.error().message().find("owner/repo"), std::string::npos);
  }
}

TEST(Answers, TheNextPageIsTheQueryOfItsLink) {
  EXPECT_EQ(next_query(R"(<https://h.co/api/x?recursive=true&cursor=a,b=>; rel="next")"), "recursive=true&cursor=a,b=");
  EXPECT_EQ(next_query(R"(<http://a/?p=1>; rel="prev", <http://a/?p=3#x>; title="t"; rel=next)"), "p=3");
  for (const char* header : {"", "<", "<>", "x", R"(<http://a/?p=1>; rel="prev")", R"(<http://a/>; rel="next")",
                             R"(<http://a/?p=1>)", R"(>; rel="next"<)"})
    EXPECT_EQ(next_query(header), std::nullopt) << header;
}

TEST(Answers, Etags) {
  EXPECT_EQ(plain_etag("\"abc\""), "abc");
  EXPECT_EQ(plain_etag(" W/\"abc\" "), "abc");
  EXPECT_EQ(plain_etag("abc"), "abc");
  EXPECT_EQ(plain_etag("\""), "\"");
  EXPECT_TRUE(is_strong_etag("\"abc\""));
  EXPECT_FALSE(is_strong_etag("W/\"abc\""));
  EXPECT_FALSE(is_strong_etag("\"\""));
  EXPECT_FALSE(is_strong_etag(""));
}

TEST(Answers, ContentRanges) {
  const std::optional<ContentRange> part = parse_content_range("bytes 5-9/10");
  ASSERT_TRUE(part);
  EXPECT_EQ(part->first, 5);
  EXPECT_EQ(part->last, 9);
  EXPECT_EQ(part->total, 10);
  EXPECT_EQ(parse_content_range("bytes 0-0/*")->total, -1);
  EXPECT_EQ(parse_content_range("bytes */10")->first, std::nullopt);
  for (const char* text : {"", "bytes", "bytes 5-9", "bytes 9-5/10", "bytes -5/10", "bytes a-b/10", "bytes 1-2/-3",
                           "lines 1-2/3", "bytes 1/3", "bytes 1-99999999999999999999/3"})
    EXPECT_FALSE(parse_content_range(text)) << text;
  EXPECT_EQ(parse_size(" 12 "), 12);
  for (const char* text : {"", "-1", "1x", "0x1", "1.5"}) EXPECT_EQ(parse_size(text), std::nullopt) << text;
}

TEST(Answers, RefusalsSayWhy) {
  EXPECT_EQ(refusal_text(R"({"error": "Access denied"})"), "Access denied");
  EXPECT_EQ(refusal_text("<html>"), "");
  EXPECT_EQ(refusal_text(R"({"error": 3})"), "");
  EXPECT_EQ(refusal_text(cat(R"({"error": ")", std::string(1000, 'x'), "\"}")).size(), 300u);
}

}  // namespace
}  // namespace facet::hub
