// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/host/shared_file.h"

#include <array>
#include <filesystem>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <thread>

#include "dataplane/host/shared_page.h"

namespace rota {
namespace {

class SharedFileTest : public testing::Test {
 protected:
  SharedFileTest() {
    char directory[] = "/tmp/rota-shared-file-XXXXXX";
    directory_ = ::mkdtemp(directory);
  }
  ~SharedFileTest() override { std::filesystem::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  std::string directory_;
};

Mapping make_file(const std::string& path, uint8_t content, size_t bytes) {
  Mapping mapping;
  EXPECT_TRUE(create_shared_file(
      path, bytes, mapping, [&](std::span<std::byte> memory) { memory[0] = std::byte{content}; }));
  return mapping;
}

TEST_F(SharedFileTest, AReaderFindsTheNewFileAndKeepsTheOldOneUntilThen) {
  SharedFileReader reader(path("counters"));
  EXPECT_TRUE(reader.look().empty());
  const Mapping first = make_file(path("counters"), 1, 8192);
  const auto seen = reader.look();
  ASSERT_EQ(seen.size(), 8192u);
  const uint64_t serial = reader.serial();
  EXPECT_EQ(reader.look().data(), seen.data());

  const Mapping second = make_file(path("counters"), 2, 4096);
  EXPECT_EQ(seen[0], std::byte{1});
  EXPECT_EQ(seen[8191], std::byte{0});
  const auto now = reader.look();
  ASSERT_EQ(now.size(), 4096u);
  EXPECT_EQ(now[0], std::byte{2});
  EXPECT_GT(reader.serial(), serial);
  std::filesystem::remove(path("counters"));
  EXPECT_TRUE(reader.look().empty());
}

TEST_F(SharedFileTest, AFileThatCannotBeMadeLeavesTheOldOne) {
  const Mapping first = make_file(path("counters"), 1, 4096);
  Mapping none;
  EXPECT_FALSE(create_shared_file(path("counters"), size_t{1} << 60, none, [](auto) {}));
  EXPECT_FALSE(none);
  SharedFileReader reader(path("counters"));
  EXPECT_EQ(reader.look().size(), 4096u);
}

struct Pair {
  static constexpr uint32_t kMagic = 1;
  static constexpr uint32_t kVersion = 1;
  std::array<uint64_t, 32> numbers{};  // always all the same
};

TEST(SharedPage, IsReadWholeOrNotAtAll) {
  alignas(64) std::array<std::byte, sizeof(SharedPage<Pair>)> memory{};
  EXPECT_EQ(SharedPage<Pair>::in(memory), nullptr);
  auto* page = SharedPage<Pair>::format(memory);
  ASSERT_EQ(SharedPage<Pair>::in(memory), page);
  Pair read;
  EXPECT_FALSE(page->read(read));
  std::jthread writer([&](const std::stop_token& stop) {
    for (uint64_t i = 1; !stop.stop_requested(); ++i) {
      Pair written;
      written.numbers.fill(i);
      page->write(written);
    }
  });
  for (uint64_t whole = 0; whole < 1000;) {
    if (!page->read(read)) continue;
    ++whole;
    for (const uint64_t number : read.numbers) ASSERT_EQ(number, read.numbers[0]);
  }
}

}  // namespace
}  // namespace rota
