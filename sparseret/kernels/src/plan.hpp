// Chooses how much of each list to read, so that what is left unread cannot matter too much.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "impact.hpp"

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
        stride_ = (n + 15) / 16 * 16;
        cost_.assign(kCuts * stride_, 0.0f);
        missed_.assign(kCuts * stride_, 0.0f);
        best_.assign(stride_, kReadAll);
        least_.resize(stride_);
        loss_.resize(stride_);
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
        for (int i = 0; i < 7; ++i) {
            const float middle = std::sqrt(low * high);
            (choose(middle) > allowance ? low : high) = middle;
        }
        if (choose(high) > allowance) read_all();
    }

  private:
    void read_all() { std::fill(best_.begin(), best_.end(), kReadAll); }

    float choose(float price) {
        for (std::size_t l = 0; l < stride_; ++l) {
            best_[l] = kReadAll;
            least_[l] = cost_[kReadAll * stride_ + l];
            loss_[l] = 0.0f;
        }
        for (std::uint32_t cut = 0; cut < kReadAll; ++cut) {
            const float* costs = cost_.data() + cut * stride_;
            const float* losses = missed_.data() + cut * stride_;
            for (std::size_t l = 0; l < stride_; ++l) {
                const float value = costs[l] + price * losses[l];
                const bool better = value < least_[l];
                best_[l] = better ? cut : best_[l];
                loss_[l] = better ? losses[l] : loss_[l];
                least_[l] = better ? value : least_[l];
            }
        }
        float missed = 0.0f;
        for (std::size_t l = 0; l < n_; ++l) missed += loss_[l];
        return missed;
    }

    std::size_t n_ = 0, stride_ = 0;
    std::vector<float> cost_, missed_, least_, loss_;
    std::vector<std::uint32_t> best_;
};

}  // namespace sparseret
