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
    std::uint32_t place;  // among the candidates of its segment, best bound first; 0 without
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
        buffer_.push_back({score, 0, row});
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

// The same by a heap: the threshold is the k-th best score at any moment, which pays where a push
// follows costly work that a threshold can spare.
class HeapTopK {
  public:
    explicit HeapTopK(std::size_t k) : k_(k) { heap_.reserve(std::min<std::size_t>(k, 4096)); }

    // The k-th best score, or -inf while there are fewer.
    float threshold() const { return threshold_; }

    void push(float score, std::int64_t row, std::uint32_t place = 0) {
        const Hit hit{score, place, row};
        if (heap_.size() == k_) {
            if (!better(hit, heap_.front())) return;
            std::pop_heap(heap_.begin(), heap_.end(), better);
            heap_.back() = hit;
        } else {
            heap_.push_back(hit);
        }
        std::push_heap(heap_.begin(), heap_.end(), better);
        if (heap_.size() == k_) threshold_ = heap_.front().score;
    }

    // The best k, in order; empties the heap.
    std::vector<Hit> finish() {
        std::sort_heap(heap_.begin(), heap_.end(), better);
        return std::move(heap_);
    }

  private:
    std::size_t k_;
    float threshold_ = -std::numeric_limits<float>::infinity();
    std::vector<Hit> heap_;
};

// The best k of two ranked lists, in order.
inline std::vector<Hit> merge_hits(std::vector<Hit>&& a, std::vector<Hit>&& b, std::size_t k) {
    if (a.empty()) return std::move(b);
    if (b.empty()) return std::move(a);
    std::vector<Hit> out(a.size() + b.size());
    std::merge(a.begin(), a.end(), b.begin(), b.end(), out.begin(), better);
    if (out.size() > k) out.resize(k);
    return out;
}

}  // namespace sparseret
