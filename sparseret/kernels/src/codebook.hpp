// Numbers the distinct (value, length) pairs of a segment, so that a posting stores a short code.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace sparseret {

struct Codebook {
    bool fits = true;  // false: more than `limit` distinct pairs, nothing else is set
    std::vector<std::uint32_t> codes;  // one per value
    std::vector<float> values, lengths;  // one per code, ascending by (value, length) bits
};

// lengths: one per row, or null to number values alone.
inline Codebook make_codebook(std::size_t n_rows, const std::int64_t* row_ptr, const float* values,
                              const float* lengths, std::size_t limit) {
    const auto nnz = static_cast<std::size_t>(row_ptr[n_rows]);
    Codebook out;
    out.codes.resize(nnz);
    std::vector<std::uint64_t> keys;  // in order of first sight
    std::vector<std::uint32_t> slots(1024, 0);  // open addressing: 1 + position in keys, 0 = free
    const auto slot_of = [&](std::uint64_t key) {
        // Rounded values differ in their upper bits only, which a product moves upwards: it is
        // its uppermost bits that depend on all of the key.
        const std::size_t mask = slots.size() - 1;
        const int unused = std::countl_zero(static_cast<std::uint64_t>(mask));
        std::size_t slot = (key ^ key >> 32) * 0x9e3779b97f4a7c15ull >> unused;
        while (slots[slot] && keys[slots[slot] - 1] != key) slot = (slot + 1) & mask;
        return slot;
    };
    for (std::size_t row = 0; row < n_rows; ++row) {
        const std::uint64_t low = lengths ? std::bit_cast<std::uint32_t>(lengths[row]) : 0;
        for (auto i = row_ptr[row]; i < row_ptr[row + 1]; ++i) {
            const std::uint64_t key =
                std::uint64_t{std::bit_cast<std::uint32_t>(values[i])} << 32 | low;
            std::size_t slot = slot_of(key);
            if (!slots[slot]) {
                if (keys.size() == limit) {
                    out.fits = false;
                    return out;
                }
                keys.push_back(key);
                slots[slot] = static_cast<std::uint32_t>(keys.size());
                if (2 * keys.size() > slots.size()) {
                    slots.assign(slots.size() * 4, 0);
                    for (std::size_t k = 0; k < keys.size(); ++k)
                        slots[slot_of(keys[k])] = static_cast<std::uint32_t>(k + 1);
                    slot = slot_of(key);
                }
            }
            out.codes[static_cast<std::size_t>(i)] = slots[slot] - 1;
        }
    }
    // Codes in order of their keys do not depend on the order of documents.
    std::vector<std::uint32_t> order(keys.size()), rank(keys.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return keys[a] < keys[b]; });
    for (std::size_t r = 0; r < order.size(); ++r) {
        rank[order[r]] = static_cast<std::uint32_t>(r);
        const std::uint64_t key = keys[order[r]];
        out.values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(key >> 32)));
        out.lengths.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(key)));
    }
    for (auto& code : out.codes) code = rank[code];
    return out;
}

}  // namespace sparseret
