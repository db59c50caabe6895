// What a search of impact-ordered lists is given, keeps and tells.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

#include "impact.hpp"

namespace sparseret {

// How much work an approximate search does.
struct Effort {
    float cut;               // score a document may lack, as a share of the largest possible
    std::size_t candidates;  // documents scored from their rows; 0 for an exact search
    bool exact() const { return candidates == 0; }
};

// A segment, and which of its documents may be returned.
struct ImpactTarget {
    const ImpactView* segment;
    const std::uint64_t* allowed;  // bit per document, or null for all
    std::size_t n_allowed;         // set bits
    std::size_t begin, end;        // documents of a range
    std::int64_t first_row;

    // The share of the range that lies in the window of n documents from `first` on.
    double share(std::size_t first, std::size_t n) const {
        return overlap(first, n) / static_cast<double>(end - begin);
    }

    // The share of a window's documents that may be returned, if those allowed are spread evenly.
    double eligible(std::size_t first, std::size_t n) const {
        const auto allowed_ones = static_cast<double>(std::max<std::size_t>(n_allowed, 1));
        const auto documents = static_cast<double>(std::min(n, segment->n_docs - first));
        return overlap(first, n) / documents *
               std::min(1.0, allowed_ones / static_cast<double>(end - begin));
    }

  private:
    double overlap(std::size_t first, std::size_t n) const {
        return static_cast<double>(std::min(first + n, end) - std::max(first, begin));
    }
};

// What a search did, for measuring and for choosing efforts.
struct Work {
    std::uint64_t postings = 0;
    std::uint64_t rows = 0;
};

// Accumulators that live as long as their thread.
class ImpactAccumulators {
  public:
    static constexpr std::size_t kSize = std::size_t{1} << kMaxImpactBits;
    ImpactAccumulators()
        : data_(static_cast<std::uint16_t*>(::operator new(kSize * 2, std::align_val_t{64}))) {
        clear();
    }
    ~ImpactAccumulators() { ::operator delete(data_, std::align_val_t{64}); }
    ImpactAccumulators(const ImpactAccumulators&) = delete;
    ImpactAccumulators& operator=(const ImpactAccumulators&) = delete;
    // Of a window of n documents, all zero. Searches clear the windows they use; what an altered
    // file wrote past their end is cleared before a larger window could see it.
    std::uint16_t* window(std::size_t n) {
        if (n > clean_) clear();
        clean_ = n;
        return data_;
    }
    void clear() {
        std::fill_n(data_, kSize, std::uint16_t{0});
        clean_ = kSize;
    }

  private:
    std::uint16_t* data_;
    std::size_t clean_ = kSize;  // so many from the beginning are zero
};

}  // namespace sparseret
