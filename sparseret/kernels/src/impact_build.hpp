// Makes the impact-ordered lists of one window from its rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "impact.hpp"

namespace sparseret {

// Lists of one window, terms ascending; offsets count from the window's own beginning.
struct WindowLists {
    std::vector<std::uint32_t> ranks;  // one a list
    std::vector<std::uint16_t> sizes;  // postings - 1
    std::vector<std::uint16_t> words;  // of all lists
};

// The smallest code whose bound covers the weight; 0 < weight <= largest.
inline std::uint8_t impact_code(float weight, float largest) {
    const double exact = std::ceil(static_cast<double>(weight) * 255.0 / largest);
    return static_cast<std::uint8_t>(std::clamp(exact, 1.0, 255.0));
}

// rows of n <= 2^16 documents: ranks[row_ptr[d] - row_ptr[0] ...], likewise weights. Ranks that
// repeat within a row are noticed only where a list would outgrow its window.
template <class Rank>
WindowLists build_window(std::size_t n, const std::int64_t* row_ptr, const Rank* ranks,
                         const float* weights, std::size_t n_columns, const float* column_max) {
    const auto nnz = static_cast<std::size_t>(row_ptr[n] - row_ptr[0]);
    // Counting sort by term; a key orders postings within a term: heavy first, then by document.
    std::vector<std::uint32_t> end(n_columns + 1, 0);
    for (std::size_t i = 0; i < nnz; ++i) ++end[ranks[i] + 1];
    WindowLists out;
    for (std::size_t c = 0; c < n_columns; ++c) {
        if (end[c + 1] > n) throw std::invalid_argument("a rank occurs twice in a row");
        if (end[c + 1]) {
            out.ranks.push_back(static_cast<std::uint32_t>(c));
            out.sizes.push_back(static_cast<std::uint16_t>(end[c + 1] - 1));
        }
        end[c + 1] += end[c];
    }
    std::vector<std::uint32_t> keys(nnz);
    for (std::size_t d = 0; d < n; ++d)
        for (auto i = static_cast<std::size_t>(row_ptr[d] - row_ptr[0]);
             i < static_cast<std::size_t>(row_ptr[d + 1] - row_ptr[0]); ++i) {
            const std::uint32_t code = impact_code(weights[i], column_max[ranks[i]]);
            keys[end[ranks[i]]++] = (255 - code) << 16 | static_cast<std::uint32_t>(d);
        }
    out.words.reserve(nnz + nnz / (2 * kBlock) + 9 * out.ranks.size());
    std::vector<std::uint32_t> sorted;
    std::uint32_t begin = 0;
    for (std::size_t l = 0; l < out.ranks.size(); ++l) {
        const std::uint32_t size = out.sizes[l] + 1u;
        std::uint32_t* key = keys.data() + begin;
        if (size < 256) {
            std::sort(key, key + size);
        } else {  // documents ascend already: a stable counting sort by code is enough
            std::uint32_t at[257] = {};
            for (std::uint32_t p = 0; p < size; ++p) ++at[(key[p] >> 16) + 1];
            for (std::size_t c = 0; c < 256; ++c) at[c + 1] += at[c];
            sorted.resize(size);
            for (std::uint32_t p = 0; p < size; ++p) sorted[at[key[p] >> 16]++] = key[p];
            std::copy(sorted.begin(), sorted.end(), key);
        }
        const std::uint32_t n_blocks = (size + kBlock - 1) / kBlock;
        const auto code_of = [&](std::uint32_t block) {
            return static_cast<std::uint8_t>(255 - (key[block * kBlock] >> 16));
        };
        if (size >= kLongList) {
            std::uint32_t blocks = 0;
            for (const std::uint8_t level : kLevels) {
                while (blocks < n_blocks && code_of(blocks) >= level) ++blocks;
                out.words.push_back(static_cast<std::uint16_t>(blocks));
            }
        }
        for (std::uint32_t b = 0; b < n_blocks; b += 2) {
            const std::uint8_t pair[2] = {code_of(b),
                                          b + 1 < n_blocks ? code_of(b + 1) : std::uint8_t{0}};
            std::uint16_t word;
            std::memcpy(&word, pair, 2);
            out.words.push_back(word);
        }
        for (std::uint32_t p = 0; p < size; ++p)
            out.words.push_back(static_cast<std::uint16_t>(key[p] & 0xffff));
        begin += size;
    }
    return out;
}

}  // namespace sparseret
