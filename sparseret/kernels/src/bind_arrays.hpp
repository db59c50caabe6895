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

// An argument whose values lie at addresses that their type allows; see its caster below.
template <class Array>
struct Aligned : Array {
    Aligned() = default;
    explicit Aligned(const Array& array) : Array(array) {}
    bool holds() const {
        const std::size_t size = this->dtype().bits / 8;
        return size <= 1 || reinterpret_cast<std::uintptr_t>(this->data()) % size == 0;
    }
};

template <class T>
using In = Aligned<nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>>;
using AnyIn = Aligned<nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>>;
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

namespace nanobind::detail {

// NumPy can place values anywhere (np.frombuffer with an offset): those are copied, like arrays
// whose strides do not fit.
template <class Array>
struct type_caster<sparseret_bindings::Aligned<Array>> {
    NB_TYPE_CASTER(sparseret_bindings::Aligned<Array>, make_caster<Array>::Name)

    bool from_python(handle source, std::uint32_t flags, cleanup_list* cleanup) noexcept {
        make_caster<Array> caster;
        if (!caster.from_python(source, flags, cleanup)) return false;
        value = Value(caster.value);
        if (value.holds()) return true;
        object copy = steal(PyObject_CallMethod(source.ptr(), "copy", nullptr));
        if (!copy.is_valid()) {
            PyErr_Clear();
            return false;
        }
        if (!caster.from_python(copy, flags, cleanup)) return false;
        value = Value(caster.value);
        return value.holds();
    }
};

}  // namespace nanobind::detail
