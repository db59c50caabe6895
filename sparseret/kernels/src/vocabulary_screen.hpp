// The decoder and the states of texts in 8 bits, and the bound that makes a screen of their products.
//
// A state is x = s (p + d), with integers p and the residual d; a column of the decoder is
// w = t (q + e). Their exact product in units of s t is
//
//     x.w / (s t) = p.q + d.(q + e) + p.e,
//
// and by Cauchy-Schwarz it exceeds p.q by at most |d| (|q| + |e|) + |p| |e|, with norms that were
// measured when x and w were rounded (rounding8.hpp), or falls short of it by that. On top of this come
//
// - the rounding of the float32 product (ordered_dot.hpp): one multiplication, at most
//   ceil(h / 16) + 4 additions, so with u = 2^-24 and n one more than their number, at most
//   n u / (1 - n u) * |x| |w|, where |x| |w| <= s (|p| + |d|) t (|q| + |e|). Products that are
//   denormal add at most h 2^-149 <= 2^-135, which is at most 2^-15 s t, as s and t are 2^-60 or more;
// - the conversion of the integer sum, and its product with s, to float32: 2^-23 of the result.
//
// With P and D the largest |p| and |d| of a text, g = n u / (1 - n u) + 2^-21, and
//
//     margin = D' (|q| + |e|) + P |e|,    D' = D + g (P + D),
//
// the float32 value s (p.q + margin) is at least the float32 dot product in units of t, and what is
// less by 2 s margin is at most that. The margin is added to the sum as an integer, kRoundUp more,
// truncated; that covers rounding in this line, as margin < 2^22 for h <= kMaxWidth.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "aligned.hpp"
#include "parallel.hpp"
#include "rounding8.hpp"
#include "screen8.hpp"

namespace sparseret {

inline constexpr std::size_t kMaxWidth = 16384;
inline constexpr float kRoundUp = 4.0f;

// The decoder in 8 bits, in tiles of columns; columns beyond the last are never chosen.
struct ScreenColumns {
    std::size_t width, groups, n_tiles;
    AlignedArray<std::int8_t> bytes;
    std::vector<std::int32_t> sum;       // of the integers of q
    std::vector<float> scale, residual;  // t and |e|
    std::vector<float> reach;            // |q| + |e|
    std::vector<float> bias;

    ScreenColumns(const float* weight, const float* bias_, std::size_t n_columns, std::size_t width_)
        : width(width_),
          groups((width_ + 3) / 4),
          n_tiles((n_columns + kTile - 1) / kTile),
          bytes(n_tiles * groups * 4 * kTile),
          sum(n_tiles * kTile, 0),
          scale(n_tiles * kTile, 1.0f),
          residual(n_tiles * kTile, 0.0f),
          reach(n_tiles * kTile, 0.0f),
          bias(n_tiles * kTile, -std::numeric_limits<float>::infinity()) {
        std::vector<std::int8_t> integers(width);
        for (std::size_t v = 0; v < n_columns; ++v) {
            const Rounding8 made = round8(weight + v * width, width, integers.data());
            scale[v] = made.scale;
            residual[v] = made.residual;
            reach[v] = made.length + made.residual;
            bias[v] = bias_[v];
            std::int8_t* to = bytes.data() + (v / kTile * groups * kTile + v % kTile) * 4;
            for (std::size_t i = 0; i < width; ++i) {
                to[i / 4 * 4 * kTile + i % 4] = integers[i];
                sum[v] += integers[i];
            }
        }
    }
    const std::int8_t* tile(std::size_t t) const { return bytes.data() + t * groups * 4 * kTile; }
};

// Calls body(first, rows) for the blocks of a text: as few as can be, of sizes as equal as can be.
template <class Body>
void for_blocks(std::size_t n_rows, Body&& body) {
    const std::size_t n = (n_rows + kBlockRows - 1) / kBlockRows;
    for (std::size_t b = 0, first = 0; b < n; ++b) {
        const std::size_t size = n_rows / n + (b < n_rows % n);
        body(first, size);
        first += size;
    }
}

// The states of texts in 8 bits, in blocks of rows.
class ScreenRows {
  public:
    struct Text {
        float length = 0.0f, residual = 0.0f;  // P and D'
        float scale = 0.0f;                    // the largest s
    };

    ScreenRows(const float* hidden, const std::int64_t* offsets, std::size_t n_texts,
               std::size_t width, std::size_t n_threads)
        : screen_(active_screen()),
          offsets_(offsets),
          groups_((width + 3) / 4),
          bytes_(static_cast<std::size_t>(offsets[n_texts]) * groups_ * 4),
          scales_(static_cast<std::size_t>(offsets[n_texts])),
          texts_(n_texts) {
        parallel_for(n_texts, n_threads, [&](std::size_t t) { round(t, hidden, width); });
    }

    std::size_t first(std::size_t text) const { return static_cast<std::size_t>(offsets_[text]); }
    std::size_t size(std::size_t text) const { return first(text + 1) - first(text); }
    const Screen& screen() const { return screen_; }
    const Text& text(std::size_t text) const { return texts_[text]; }
    // Of a block, by the number of its first row among those of all texts.
    const std::uint8_t* block(std::size_t row) const { return bytes_.data() + row * groups_ * 4; }
    const float* scales(std::size_t row) const { return scales_.data() + row; }

  private:
    void round(std::size_t t, const float* hidden, std::size_t width) {
        Text& text = texts_[t];
        std::vector<std::int8_t> integers(groups_ * 4, 0);
        const auto offset = static_cast<std::uint8_t>(screen_.offset);
        for_blocks(size(t), [&](std::size_t begin, std::size_t n) {
            begin += first(t);
            std::uint8_t* to = bytes_.data() + begin * groups_ * 4;
            for (std::size_t r = 0; r < n; ++r, to += 4) {
                const Rounding8 made = round8(hidden + (begin + r) * width, width, integers.data());
                scales_[begin + r] = made.scale;
                text.length = std::max(text.length, made.length);
                text.residual = std::max(text.residual, made.residual);
                text.scale = std::max(text.scale, made.scale);
                for (std::size_t g = 0; g < groups_; ++g)
                    for (std::size_t p = 0; p < 4; ++p)
                        to[g * n * 4 + p] = static_cast<std::uint8_t>(integers[4 * g + p] + offset);
            }
        });
        const double n = static_cast<double>((width + 15) / 16 + 6) * 0x1p-24;
        text.residual = static_cast<float>(
            (text.residual + (n / (1 - n) + 0x1p-21) * (text.length + text.residual)) * (1 + 1e-6));
    }

    Screen screen_;
    const std::int64_t* offsets_;
    std::size_t groups_;
    AlignedArray<std::uint8_t> bytes_;
    std::vector<float> scales_;
    std::vector<Text> texts_;
};

// One text against one tile: upper bounds of all products, in units of the columns' scales.
class ScreenedTile {
  public:
    ScreenedTile(const ScreenColumns& columns, const ScreenRows& rows, std::size_t most_rows)
        : columns_(columns), rows_(rows), products_(most_rows * kTile) {}

    // Without a margin, the products of the rounded rows and columns themselves.
    void compute(std::size_t text, std::size_t tile, bool with_margin) {
        const ScreenRows::Text& norms = rows_.text(text);
        const Screen& screen = rows_.screen();
        const std::size_t column = tile * kTile;
        for (std::size_t c = 0; c < kTile; ++c) {
            const float margin = norms.residual * columns_.reach[column + c] +
                                 norms.length * columns_.residual[column + c] + kRoundUp;
            margin_[c] = with_margin ? static_cast<std::int32_t>(margin) : 0;
            start_[c] = margin_[c] - screen.offset * columns_.sum[column + c];
            best_[c] = -std::numeric_limits<float>::infinity();
        }
        for_blocks(rows_.size(text), [&](std::size_t first, std::size_t n) {
            const std::size_t row = rows_.first(text) + first;
            screen.blocks[n - 1](rows_.block(row), columns_.tile(tile), columns_.groups, start_,
                                 rows_.scales(row), products_.data() + first * kTile, best_);
        });
        scale_ = norms.scale;
    }

    float product(std::size_t row, std::size_t c) const { return products_[row * kTile + c]; }
    float best(std::size_t c) const { return best_[c]; }
    // A row whose product is not above this does not have the largest dot product of the column.
    float contenders(std::size_t c) const {
        const float twice = 2.0f * scale_ * (static_cast<float>(margin_[c]) + kRoundUp);
        return best_[c] - twice - 0x1p-20f * std::fabs(best_[c]);
    }

  private:
    const ScreenColumns& columns_;
    const ScreenRows& rows_;
    AlignedArray<float> products_;
    alignas(64) std::int32_t start_[kTile];
    alignas(64) std::int32_t margin_[kTile];
    alignas(64) float best_[kTile];
    float scale_ = 0.0f;
};

// A number not above value / scale: upper bounds that do not exceed it leave the product at most
// `value`. Large quotients are cut where no product reaches.
inline float not_above(float value, float scale) {
    const float quotient = std::clamp(value / scale, -1e30f, 1e30f);
    return quotient - (0x1p-20f * std::fabs(quotient) + 0x1p-100f);
}

}  // namespace sparseret
