// Chooses how much of each list to read, so that what is left unread cannot matter too much.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "impact.hpp"
#include "scan.hpp"

namespace sparseret {

// Ways to cut a list: read nothing, read down to one of the levels, read everything.
inline constexpr std::size_t kCuts = kLevels.size() + 2;
inline constexpr std::uint32_t kReadAll = kCuts - 1;

// Costs and losses of all cuts of some lists, side by side so that loops over lists are vectors.
class CutPlanner {
  public:
    // For `n` lists, filled by cost() and missed() for each list and cut.
    void reset(std::size_t n) {
        n_ = n;
        stride_ = (n + kLanes - 1) / kLanes * kLanes;
        cost_.assign(kCuts * stride_, 0.0f);
        missed_.assign(kCuts * stride_, 0.0f);
        best_.assign(stride_, kReadAll);
    }
    float& cost(std::size_t list, std::size_t cut) { return cost_[cut * stride_ + list]; }
    float& missed(std::size_t list, std::size_t cut) { return missed_[cut * stride_ + list]; }
    std::uint32_t cut(std::size_t list) const { return best_[list]; }

    // Picks a cut for every list: the cheapest whose losses sum to at most `allowance`, up to what
    // a Lagrange multiplier reaches. Minimises cost + price * missed list by list; a higher price
    // misses less. The bisection ends on the side that keeps to the allowance.
    void solve(float allowance) {
        if (!(allowance > 0.0f)) return read_all();
        float total_cost = 0.0f, total_missed = 0.0f;
        for (std::size_t l = 0; l < n_; ++l) {
            total_cost += cost(l, kReadAll);
            total_missed += missed(l, 0);
        }
        if (total_missed <= allowance) return void(std::fill(best_.begin(), best_.end(), 0u));
        // Prices spread over orders of magnitude: bisect their logarithm.
        float low = 0.02f * total_cost / total_missed, high = 50.0f * total_cost / allowance;
        for (int i = 0; i < 10; ++i) {
            const float middle = std::sqrt(low * high);
            (choose(middle) > allowance ? low : high) = middle;
        }
        if (choose(high) > allowance) read_all();
    }

  private:
    void read_all() { std::fill(best_.begin(), best_.end(), kReadAll); }

    // The same loops, compiled for vectors of four lanes and of sixteen.
    float choose(float price) {
#ifdef SPARSERET_X86
        if (active_isa() == Isa::avx512) return choose_avx512(price);
#endif
        return choose_any(price);
    }
#ifdef SPARSERET_X86
    __attribute__((target("avx512f"))) float choose_avx512(float price) { return choose_any(price); }
    __attribute__((always_inline))
#endif
    inline float choose_any(float price) {
        float missed[kLanes] = {};
        for (std::size_t first = 0; first < stride_; first += kLanes) {
            const float* __restrict costs = cost_.data() + first;
            const float* __restrict losses = missed_.data() + first;
            float least[kLanes], loss[kLanes];
            std::uint32_t best[kLanes];
            for (std::size_t l = 0; l < kLanes; ++l) {
                best[l] = kReadAll;
                least[l] = costs[kReadAll * stride_ + l];
                loss[l] = 0.0f;
            }
            for (std::uint32_t cut = 0; cut < kReadAll; ++cut)
                for (std::size_t l = 0; l < kLanes; ++l) {
                    const float lost = losses[cut * stride_ + l];
                    const float value = costs[cut * stride_ + l] + price * lost;
                    const bool better = value < least[l];
                    best[l] = better ? cut : best[l];
                    loss[l] = better ? lost : loss[l];
                    least[l] = better ? value : least[l];
                }
            for (std::size_t l = 0; l < kLanes; ++l) {
                best_[first + l] = best[l];
                missed[l] += loss[l];
            }
        }
        float total = 0.0f;
        for (const float lane : missed) total += lane;
        return total;
    }

    static constexpr std::size_t kLanes = 16;
    std::size_t n_ = 0, stride_ = 0;
    std::vector<float> cost_, missed_;
    std::vector<std::uint32_t> best_;
};

}  // namespace sparseret
