// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/peer/certificates.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace rota {
namespace {

constexpr int kValid_days = 3650;
constexpr long kDay_s = 86'400;

template <auto free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    free(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Text = std::unique_ptr<BIO, Freed<BIO_free_all>>;

// Thrown when libcrypto fails, which only a machine without memory or entropy makes it do.
struct Broken {
  std::string why;
};

void check(bool done, const char* what) {
  if (done) return;
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof(text));
  throw Broken{fmt::format("{}: {}", what, text)};
}

Key make_key() {
  Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  check(key != nullptr, "making a key");
  return key;
}

void add_extension(X509& certificate, X509& issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, &issuer, &certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  check(extension && X509_add_ext(&certificate, extension.get(), -1) == 1, "adding an extension");
}

// Not signed yet. `issuer` nullptr: itself.
Certificate make_certificate(const std::string& name, EVP_PKEY& key, X509* issuer) {
  Certificate made(X509_new());
  check(made != nullptr, "making a certificate");
  unsigned char serial[16];
  check(RAND_bytes(serial, sizeof(serial)) == 1, "drawing a serial number");
  serial[0] &= 0x7f;  // it is a positive number
  const std::unique_ptr<BIGNUM, Freed<BN_free>> number(BN_bin2bn(serial, sizeof(serial), nullptr));
  check(number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(made.get())),
        "setting the serial number");
  X509_NAME* subject = X509_get_subject_name(made.get());
  check(
      X509_set_version(made.get(), X509_VERSION_3) == 1 &&
          X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                     reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                                     0) == 1 &&
          X509_set_issuer_name(made.get(), issuer ? X509_get_subject_name(issuer) : subject) == 1 &&
          X509_set_pubkey(made.get(), &key) == 1 &&
          // A day back: the nodes' clocks may differ.
          X509_gmtime_adj(X509_getm_notBefore(made.get()), -kDay_s) &&
          X509_gmtime_adj(X509_getm_notAfter(made.get()), kValid_days * kDay_s),
      "filling a certificate");
  return made;
}

void sign(X509& certificate, EVP_PKEY& key) {
  check(X509_sign(&certificate, &key, EVP_sha256()) > 0, "signing a certificate");
}

Certificate make_authority(const std::string& name, EVP_PKEY& key) {
  Certificate made = make_certificate(name, key, nullptr);
  add_extension(*made, *made, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(*made, *made, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(*made, *made, NID_subject_key_identifier, "hash");
  sign(*made, key);
  return made;
}

Certificate make_leaf(const std::string& node, EVP_PKEY& key, X509& authority,
                      EVP_PKEY& authority_key) {
  Certificate made = make_certificate(node, key, &authority);
  add_extension(*made, authority, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(*made, authority, NID_key_usage, "critical,digitalSignature");
  add_extension(*made, authority, NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(*made, authority, NID_subject_alt_name, "DNS:" + node);
  add_extension(*made, authority, NID_authority_key_identifier, "keyid");
  sign(*made, authority_key);
  return made;
}

std::string text_of(BIO& text) {
  char* start = nullptr;
  const long length = BIO_get_mem_data(&text, &start);
  return {start, static_cast<size_t>(length)};
}

std::string pem_of(X509& certificate) {
  const Text text(BIO_new(BIO_s_mem()));
  check(text && PEM_write_bio_X509(text.get(), &certificate) == 1, "writing a certificate");
  return text_of(*text);
}

std::string pem_of(EVP_PKEY& key) {
  const Text text(BIO_new(BIO_s_mem()));
  check(text && PEM_write_bio_PrivateKey(text.get(), &key, nullptr, nullptr, 0, nullptr, nullptr),
        "writing a key");
  return text_of(*text);
}

struct File {
  std::string path;
  std::string contents;
  unsigned mode;
};

std::vector<File> make_files(const std::string& directory,
                             const std::array<std::string, 2>& nodes) {
  constexpr unsigned kCertificate = 0644, kKey = 0600;
  std::vector<File> files;
  const auto add = [&](const std::string& name, X509& certificate, EVP_PKEY& key) {
    files.push_back({fmt::format("{}/{}.pem", directory, name), pem_of(certificate), kCertificate});
    files.push_back({fmt::format("{}/{}.key", directory, name), pem_of(key), kKey});
  };
  const Key authority_key = make_key();
  const Certificate authority =
      make_authority(fmt::format("Rota {} {}", nodes[0], nodes[1]), *authority_key);
  add("ca", *authority, *authority_key);
  for (const std::string& node : nodes) {
    const Key key = make_key();
    add(node, *make_leaf(node, *key, *authority, *authority_key), *key);
  }
  return files;
}

Error failed(const std::string& path) {
  return {errno == EEXIST ? ErrorCode::already_exists : ErrorCode::internal,
          fmt::format("{}: {}", path, std::strerror(errno))};
}

Result<Done> write_file(const File& file) {
  const int fd = ::open(file.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, file.mode);
  if (fd < 0) return failed(file.path);
  std::string_view rest = file.contents;
  bool written = ::fchmod(fd, file.mode) == 0;
  while (written && !rest.empty()) {
    const ssize_t count = ::write(fd, rest.data(), rest.size());
    written = count > 0;
    if (written) rest.remove_prefix(static_cast<size_t>(count));
  }
  const Result<Done> done =
      written && ::fsync(fd) == 0 ? Result<Done>(Done{}) : Result<Done>(failed(file.path));
  ::close(fd);
  return done;
}

}  // namespace

Result<Done> make_certificates(const std::string& directory,
                               const std::array<std::string, 2>& nodes) {
  namespace fs = std::filesystem;
  try {
    const std::vector<File> files = make_files(directory, nodes);
    std::error_code error;
    fs::create_directories(directory, error);
    if (error) return Error{ErrorCode::internal, fmt::format("{}: {}", directory, error.message())};
    for (const File& file : files)
      if (fs::exists(fs::symlink_status(file.path, error)))
        return Error{ErrorCode::already_exists,
                     fmt::format("{} is there already; nothing has been written", file.path)};
    for (const File& file : files)
      if (auto done = write_file(file); !done) return done;
    return Done{};
  } catch (const Broken& broken) {
    return Error{ErrorCode::internal, broken.why};
  }
}

}  // namespace rota
