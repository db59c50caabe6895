// Runs a body over 0..n-1 on a few threads of our own (no OpenMP).
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace sparseret {

// body(i) is called exactly once for every i; items are handed out one at a time, so that uneven
// work balances. The first exception of any thread is rethrown after all of them have stopped.
template <class Body>
void parallel_for(std::size_t n, std::size_t n_threads, Body&& body) {
    if (n_threads > n) n_threads = n;
    if (n_threads <= 1) {
        for (std::size_t i = 0; i < n; ++i) body(i);
        return;
    }
    std::atomic<std::size_t> next{0};
    std::exception_ptr failure;
    std::mutex failure_lock;
    auto work = [&] {
        try {
            for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) body(i);
        } catch (...) {
            next.store(n, std::memory_order_relaxed);
            std::lock_guard guard(failure_lock);
            if (!failure) failure = std::current_exception();
        }
    };
    std::vector<std::thread> helpers;
    helpers.reserve(n_threads - 1);
    try {
        for (std::size_t t = 1; t < n_threads; ++t) helpers.emplace_back(work);
    } catch (const std::system_error&) {
        // The system grants no further thread: those that started, and this one, do the work.
    }
    work();
    for (auto& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace sparseret
