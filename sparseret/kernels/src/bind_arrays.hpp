// NumPy arrays at the border between Python and the kernels.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace sparseret_bindings {

template <class T>
using In = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using AnyIn = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

template <class T>
Out<T> adopt(std::vector<T>&& source) {
    auto* kept = new std::vector<T>(std::move(source));
    nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return Out<T>(kept->data(), {kept->size()}, owner);
}

template <class T>
Out<T> allocate(std::size_t n) {
    auto* data = new T[n ? n : 1];
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return Out<T>(data, {n}, owner);
}

inline void require(bool condition, const char* message) {
    if (!condition) throw nb::value_error(message);
}

// Ascending offsets from 0 that stay within `limit`.
inline void require_offsets(const In<std::int64_t>& ptr, std::size_t limit) {
    require(ptr.size() >= 1 && ptr(0) == 0, "offsets must start at 0");
    for (std::size_t i = 1; i < ptr.size(); ++i)
        require(ptr(i) >= ptr(i - 1), "offsets must ascend");
    require(static_cast<std::size_t>(ptr(ptr.size() - 1)) <= limit, "offsets exceed the array");
}

}  // namespace sparseret_bindings
