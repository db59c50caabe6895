// Arrays that start at a cache line.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <utility>

namespace sparseret {

// Values of a plain type, zero at first; moved, not copied.
template <class T>
class AlignedArray {
  public:
    AlignedArray() = default;
    explicit AlignedArray(std::size_t size)
        : data_(static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t{64}))) {
        std::fill_n(data_, size, T{});
    }
    AlignedArray(AlignedArray&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
    AlignedArray& operator=(AlignedArray&& other) noexcept {
        std::swap(data_, other.data_);
        return *this;
    }
    ~AlignedArray() { ::operator delete(data_, std::align_val_t{64}); }

    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }

  private:
    T* data_ = nullptr;
};

}  // namespace sparseret
