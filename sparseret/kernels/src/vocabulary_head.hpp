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

    // Values above `threshold`, in lists of columns that follow each other; within a list the columns
    // of each text ascend.
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
            // What a bound must exceed for its row to matter, column by column.
            std::vector<float> cuts(end * kTile - chunk * step * kTile);
            for (std::size_t i = 0; i < cuts.size(); ++i) {
                const std::size_t column = chunk * step * kTile + i;
                const float counts = pooling == Pooling::log_sum ? 0.0f : threshold;
                cuts[i] = not_above(counts - columns_.bias[column], columns_.scale[column]);
            }
            for (std::size_t t = 0, next; t < states.n_texts; t = next) {
                next = together(rows, t, states.n_texts);
                for (std::size_t i = chunk * step; i < end; ++i)
                    for (std::size_t number = t; number < next; ++number) {
                        if (!rows.size(number)) continue;
                        tile.compute(number, i, weight_ != nullptr);
                        const Text text{number, rows.size(number),
                                        states.values + rows.first(number) * columns_.width};
                        const float* cut = cuts.data() + (i - chunk * step) * kTile;
                        collect(tile, text, i * kTile, cut, pooling, threshold, found[chunk]);
                    }
            }
        });
        return found;
    }

  private:
    // The end of the texts from `first` on whose rows the first cache holds beside a tile.
    std::size_t together(const ScreenRows& rows, std::size_t first, std::size_t n_texts) const {
        constexpr std::size_t kBytes = 16384;
        std::size_t end = first + 1;
        while (end < n_texts &&
               (rows.first(end + 1) - rows.first(first)) * columns_.groups * 4 <= kBytes)
            ++end;
        return end;
    }

    struct Text {
        std::size_t number, n_rows;
        const float* states;
    };

    void collect(const ScreenedTile& tile, const Text& text, std::size_t first, const float* cuts,
                 Pooling pooling, float threshold, std::vector<PooledEntry>& found) const {
        const bool sums = pooling == Pooling::log_sum;
        std::int32_t above = 0;  // a sum, which compilers make vectors of
        for (std::size_t c = 0; c < kTile; ++c) above += tile.best(c) > cuts[c];
        if (!above) return;
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
