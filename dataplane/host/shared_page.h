// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Shared page: a value that one process writes and others read whole, or not at all, without ever
// waiting for each other. Zeroed memory of sizeof(SharedPage), formatted, is a page that nobody has
// written yet.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace rota {

// Content: plain, with kMagic and kVersion; the version changes with the layout.
template <typename Content>
class SharedPage {
 public:
  static_assert(std::is_trivially_copyable_v<Content> && sizeof(Content) % 8 == 0);

  // The page in this memory; nullptr when it holds none, or one of another layout.
  static SharedPage* in(std::span<std::byte> memory) {
    auto* page = reinterpret_cast<SharedPage*>(memory.data());
    const bool fits = memory.size() >= sizeof(SharedPage) && page->magic_ == Content::kMagic &&
                      page->version_ == Content::kVersion && page->bytes_ == sizeof(Content);
    return fits ? page : nullptr;
  }

  // REQUIRES: zeroed memory of at least sizeof(SharedPage), on a cache line.
  static SharedPage* format(std::span<std::byte> memory) {
    auto* page = reinterpret_cast<SharedPage*>(memory.data());
    page->magic_ = Content::kMagic;
    page->version_ = Content::kVersion;
    page->bytes_ = sizeof(Content);
    return page;
  }

  // The writer. One that was killed while writing is succeeded by the next one's write().
  void write(const Content& content) {
    const uint64_t writing = (sequence_.load(std::memory_order_relaxed) + 1) | 1;
    sequence_.store(writing, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    Words words;
    std::memcpy(words.data(), &content, sizeof(Content));
    for (size_t i = 0; i < words.size(); ++i) words_[i].store(words[i], std::memory_order_relaxed);
    sequence_.store(writing + 1, std::memory_order_release);
  }

  // False, and `content` as it was, before the first write() and while one is going on.
  bool read(Content& content) const {
    const uint64_t before = sequence();
    if (before == 0 || before % 2 != 0) return false;
    Words words;
    for (size_t i = 0; i < words.size(); ++i) words[i] = words_[i].load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (sequence_.load(std::memory_order_relaxed) != before) return false;
    std::memcpy(static_cast<void*>(&content), words.data(), sizeof(Content));
    return true;
  }

  // Changes with each write().
  uint64_t sequence() const { return sequence_.load(std::memory_order_acquire); }

 private:
  using Words = std::array<uint64_t, sizeof(Content) / 8>;

  uint32_t magic_;
  uint32_t version_;
  uint64_t bytes_;
  std::atomic<uint64_t> sequence_;  // odd while being written
  std::array<std::atomic<uint64_t>, sizeof(Content) / 8> words_;
};

}  // namespace rota
