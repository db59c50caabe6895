// Keeps the k best (score, row) pairs: higher score first, then lower row.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace sparseret {

struct Hit {
    float score;
    std::int64_t row;
};

inline bool better(const Hit& a, const Hit& b) {
    return a.score != b.score ? a.score > b.score : a.row < b.row;
}

// A buffer of up to k + slack hits that is cut back to the best k whenever it is full: amortised
// constant time a push for any k, where a heap pays log k.
class TopK {
  public:
    explicit TopK(std::size_t k) : k_(k), limit_(k + std::max<std::size_t>(k, 64)) {
        buffer_.reserve(std::min<std::size_t>(limit_, 4096));
    }

    // A lower bound of the k-th best score so far: a hit in a later row must exceed it, a hit in
    // an earlier row must reach it.
    const float& threshold() const { return threshold_; }

    void push(float score, std::int64_t row) {
        buffer_.push_back({score, row});
        if (buffer_.size() >= limit_) cut();
    }

    // The best k, in order; empties the buffer.
    std::vector<Hit> finish() {
        if (buffer_.size() > k_) cut();
        std::sort(buffer_.begin(), buffer_.end(), better);
        return std::move(buffer_);
    }

    // Sets a first threshold as soon as there are k hits.
    void sharpen() {
        const bool open = threshold_ == -std::numeric_limits<float>::infinity();
        if (open && buffer_.size() >= k_) cut();
    }

  private:
    void cut() {
        std::nth_element(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(k_ - 1),
                         buffer_.end(), better);
        threshold_ = buffer_[k_ - 1].score;
        buffer_.resize(k_);
    }

    std::size_t k_;
    std::size_t limit_;
    float threshold_ = -std::numeric_limits<float>::infinity();
    std::vector<Hit> buffer_;
};

}  // namespace sparseret
