// Rotation of queries and keys. Frequencies come from the model (text-decoder.md 2.7).
#include "ops/access.h"
#include "ops/attention.h"
#include "ops/rows.h"

namespace facet::ops {
namespace {

struct Turn {
  float cosine, sine;
};

// Cosine and sine of an angle below 2^24, in double: the angle less a multiple of π/2 (π/2 in three parts; the
// first two have 29 bits, so that their products with 24-bit integers are exact), then Taylor series on |r| <= π/4.
Turn turn_by(float angle) {
  constexpr double kTwoOverPi = 0.63661977236758134308;
  constexpr double kHalfPi[3] = {0x1.921fb54000000p+0, 0x1.10b4611000000p-30, 0x1.4c4c6628b80dcp-59};
  const double a = static_cast<double>(angle);
  const int64_t quarter = static_cast<int64_t>(a * kTwoOverPi + (a < 0 ? -0.5 : 0.5));
  const double n = static_cast<double>(quarter);
  const double r = ((a - n * kHalfPi[0]) - n * kHalfPi[1]) - n * kHalfPi[2], r2 = r * r;
  double cosine = 1, sine = 1;
  for (int k = 16; k > 0; k -= 2) {
    cosine = 1 - r2 / (k * (k - 1)) * cosine;
    sine = 1 - r2 / (k * (k + 1)) * sine;
  }
  sine *= r;
  const float c = static_cast<float>(cosine), s = static_cast<float>(sine);
  switch (quarter & 3) {
    case 0: return {c, s};
    case 1: return {-s, c};
    case 2: return {-c, -s};
    default: return {s, -c};
  }
}

}  // namespace

void rope_angles(Context& ctx, Mat<float> cosine, Mat<float> sine, std::span<const int32_t> positions,
                 const Vector& frequencies) {
  FACET_CHECK(cosine.rows() == static_cast<int64_t>(positions.size()) && cosine.cols() == frequencies.size);
  FACET_CHECK(sine.rows() == cosine.rows() && sine.cols() == cosine.cols());
  for_rows(ctx, cosine.rows(), cosine.cols(), [&](int64_t i) {
    const float position = static_cast<float>(positions[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < frequencies.size; ++j) {
      const Turn turn = turn_by(position * frequencies.data[j]);
      row(cosine, i)[j] = turn.cosine;
      row(sine, i)[j] = turn.sine;
    }
  });
}

void rope(Context& ctx, Mat<float> x, int64_t head_dim, Mat<const float> cosine, Mat<const float> sine) {
  FACET_CHECK(x.cols() % head_dim == 0 && cosine.cols() * 2 == head_dim && cosine.rows() == x.rows());
  const int64_t heads = x.cols() / head_dim;
  for_rows(ctx, x.rows() * heads, head_dim, [&](int64_t i) {
    float* head = row(x, i / heads) + i % heads * head_dim;
    ctx.kernels->rope(head, head, row(cosine, i / heads), row(sine, i / heads), head_dim);
  });
}

}  // namespace facet::ops
