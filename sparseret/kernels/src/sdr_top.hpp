// Keeps the k largest overlaps: larger overlap first, then lower row. Rows are offered in ascending
// order, and overlaps are small whole numbers, so one bucket an overlap sorts them for free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sparseret {

struct Match {
    std::uint32_t row, overlap;
};

class TopOverlaps {
  public:
    // Overlaps from `least` (>= 1) to `most` are offered; k >= 1.
    TopOverlaps(std::size_t k, std::uint32_t least, std::uint32_t most)
        : k_(k), floor_(least), bound_(least), buckets_(most >= least ? most + 1u : 0u) {}

    // The smallest overlap that can still be among the best k: it only grows.
    const std::uint32_t& bound() const { return bound_; }

    void offer(std::uint32_t row, std::uint32_t overlap) {
        if (overlap < bound_) return;
        buckets_[overlap].push_back(row);
        ++kept_;
        while (kept_ - buckets_[floor_].size() >= k_) {
            kept_ -= buckets_[floor_].size();
            std::vector<std::uint32_t>().swap(buckets_[floor_]);
            ++floor_;
        }
        // A later row loses a tie.
        bound_ = kept_ >= k_ ? floor_ + 1 : floor_;
    }

    // The best k, in order.
    std::vector<Match> finish() const {
        std::vector<Match> out;
        for (std::size_t overlap = buckets_.size(); overlap-- > floor_;)
            for (const std::uint32_t row : buckets_[overlap]) {
                if (out.size() == k_) return out;
                out.push_back({row, static_cast<std::uint32_t>(overlap)});
            }
        return out;
    }

  private:
    std::size_t k_, kept_ = 0;
    std::uint32_t floor_, bound_;  // bound_ is floor_, or one more once there are k
    std::vector<std::vector<std::uint32_t>> buckets_;
};

}  // namespace sparseret
