// The vocabulary product of a masked language model, pooled over the rows of each text.
//
// A screen in 8 bits bounds every logit from above (vocabulary_screen.hpp). Where the bounds of a text
// and column all stay at or below what counts, there is nothing to find; elsewhere the few rows that
// can matter are computed in float32, so results are those of float32 throughout.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "ordered_dot.hpp"
#include "parallel.hpp"
#include "vocabulary_screen.hpp"

namespace sparseret {

// The sum of log(1 + x) over x > 0 in double precision, at the cost of a product each.
class LogSum {
  public:
    void add(double x) {
        if (x < 0x1p-10) {  // 1 + x would lose too much of x
            sum_ += std::log1p(x);
            return;
        }
        product_ *= 1.0 + x;
        if (product_ > 1e250) {
            sum_ += std::log(product_);
            product_ = 1.0;
        }
    }
    double total() const { return sum_ + std::log(product_); }

  private:
    double sum_ = 0.0, product_ = 1.0;
};

struct PooledEntry {
    std::size_t text;
    std::int32_t column;
    float value;
};

enum class Pooling { maximum, log_sum };

// The states of texts; row offsets are checked.
struct States {
    const float* values;
    const std::int64_t* offsets;
    std::size_t n_texts;
};

class VocabularyHead {
  public:
    // `weight` has `width` values a column; it is kept and read again, unless it is not `exact`.
    VocabularyHead(const float* weight, const float* bias, std::size_t n_columns, std::size_t width,
                   bool exact)
        : columns_(weight, bias, n_columns, width), weight_(exact ? weight : nullptr) {}

    // Values above `threshold`, in lists of columns that follow each other; each list is ordered by
    // text, then column.
    std::vector<std::vector<PooledEntry>> pool(const States& states, Pooling pooling,
                                               float threshold, std::size_t n_threads) const {
        const ScreenRows rows(states.values, states.offsets, states.n_texts, columns_.width,
                              n_threads);
        std::size_t most_rows = 0;
        for (std::size_t t = 0; t < states.n_texts; ++t)
            most_rows = std::max(most_rows, rows.size(t));
        // As many tiles at a time as the second cache holds beside the rows of a text.
        constexpr std::size_t kBytes = 65536;
        const std::size_t step =
            std::max<std::size_t>(1, kBytes / (columns_.groups * 4 * kTile));
        std::vector<std::vector<PooledEntry>> found((columns_.n_tiles + step - 1) / step);
        parallel_for(found.size(), n_threads, [&](std::size_t chunk) {
            ScreenedTile tile(columns_, rows, most_rows);
            const std::size_t end = std::min((chunk + 1) * step, columns_.n_tiles);
            for (std::size_t t = 0; t < states.n_texts; ++t) {
                const Text text{t, rows.size(t), states.values + rows.first(t) * columns_.width};
                if (!text.n_rows) continue;
                for (std::size_t i = chunk * step; i < end; ++i) {
                    tile.compute(t, i, weight_ != nullptr);
                    collect(tile, text, i * kTile, pooling, threshold, found[chunk]);
                }
            }
        });
        return found;
    }

  private:
    struct Text {
        std::size_t number, n_rows;
        const float* states;
    };

    void collect(const ScreenedTile& tile, const Text& text, std::size_t first, Pooling pooling,
                 float threshold, std::vector<PooledEntry>& found) const {
        const bool sums = pooling == Pooling::log_sum;
        float cuts[kTile];
        bool any = false;
        for (std::size_t c = 0; c < kTile; ++c) {
            const float bias = columns_.bias[first + c];
            cuts[c] = not_above((sums ? 0.0f : threshold) - bias, columns_.scale[first + c]);
            any |= tile.best(c) > cuts[c];
        }
        if (!any) return;
        for (std::size_t c = 0; c < kTile; ++c) {
            if (!(tile.best(c) > cuts[c])) continue;
            float value;
            if (sums)
                value = weight_ ? exact_sum(tile, text, first, c, cuts[c])
                                : rounded_sum(tile, text, first, c);
            else
                value = weight_ ? exact_maximum(tile, text, first, c, cuts[c])
                                : tile.best(c) * columns_.scale[first + c] + columns_.bias[first + c];
            if (value > threshold)
                found.push_back({text.number, static_cast<std::int32_t>(first + c), value});
        }
    }

    float dot(const Text& text, std::size_t row, std::size_t column) const {
        const std::size_t width = columns_.width;
        return ordered_dot(text.states + row * width, weight_ + column * width, width);
    }

    // The largest logit, if one of the rows above the cut has it; or less than what counts.
    float exact_maximum(const ScreenedTile& tile, const Text& text, std::size_t first, std::size_t c,
                        float cut) const {
        float largest = -std::numeric_limits<float>::infinity();
        cut = std::max(cut, tile.contenders(c));
        for (std::size_t r = 0; r < text.n_rows; ++r) {
            if (!(tile.product(r, c) > cut)) continue;
            const float product = dot(text, r, first + c);
            if (!(product > largest)) continue;
            largest = product;
            cut = std::max(cut, not_above(product, columns_.scale[first + c]));
        }
        return largest + columns_.bias[first + c];
    }

    float exact_sum(const ScreenedTile& tile, const Text& text, std::size_t first, std::size_t c,
                    float cut) const {
        LogSum sum;
        for (std::size_t r = 0; r < text.n_rows; ++r) {
            if (!(tile.product(r, c) > cut)) continue;
            const float logit = dot(text, r, first + c) + columns_.bias[first + c];
            if (logit > 0.0f) sum.add(logit);
        }
        return static_cast<float>(sum.total());
    }

    float rounded_sum(const ScreenedTile& tile, const Text& text, std::size_t first,
                      std::size_t c) const {
        LogSum sum;
        for (std::size_t r = 0; r < text.n_rows; ++r) {
            const float logit =
                tile.product(r, c) * columns_.scale[first + c] + columns_.bias[first + c];
            if (logit > 0.0f) sum.add(logit);
        }
        return static_cast<float>(sum.total());
    }

    ScreenColumns columns_;
    const float* weight_;
};

}  // namespace sparseret
