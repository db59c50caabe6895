// Stored values as the kernels read them: float32, or codes into a table of float32.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sparseret {

enum class ValueKind { plain, code8, code16, code32 };

struct PlainValues {
    static constexpr std::size_t kBytes = 4;
    const float* values;
    explicit PlainValues(const void* data) : values(static_cast<const float*>(data)) {}
    float operator[](std::size_t i) const { return values[i]; }
    const void* at(std::size_t i) const { return values + i; }
};

template <class Code>
struct CodedValues {
    static constexpr std::size_t kBytes = sizeof(Code);
    const Code* codes;
    const float* table;
    std::uint32_t last;
    CodedValues(const void* data, const float* table_, std::size_t size)
        : codes(static_cast<const Code*>(data)),
          table(table_),
          last(static_cast<std::uint32_t>(size - 1)) {}
    float operator[](std::size_t i) const {
        // Narrow codes cannot exceed their table; a wide one from an altered file could.
        if constexpr (sizeof(Code) == 4) return table[std::min<std::uint32_t>(codes[i], last)];
        return table[codes[i]];
    }
    const void* at(std::size_t i) const { return codes + i; }
};

}  // namespace sparseret
