// Every input that the fuzzers keep, once more and without them: test/fuzz/corpus/NAME/* and test/fuzz/findings/NAME/*.
//
//   test-fuzz-replay FIXTURES                 all of them; the folder of the inputs lies beside the fixtures
//   test-fuzz-replay FIXTURES NAME FILE...    some files through one harness
//
// A past finding is a check of its own. What kills the process says on stderr which input it was.

#include "checks.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>
#include <vector>

using checks::check;
namespace fs = std::filesystem;

using harness_function = int (*)(const uint8_t * data, size_t size);

extern "C" {
int fuzz_gguf_reader(const uint8_t * data, size_t size);
int fuzz_model_loader(const uint8_t * data, size_t size);
int fuzz_tokenizer(const uint8_t * data, size_t size);
int fuzz_image_resize(const uint8_t * data, size_t size);
int fuzz_embed_args(const uint8_t * data, size_t size);
}

struct harness {
    const char *     name;
    harness_function run;
};

static const harness harnesses[] = {
    { "gguf-reader", fuzz_gguf_reader },   { "model-loader", fuzz_model_loader }, { "tokenizer", fuzz_tokenizer },
    { "image-resize", fuzz_image_resize },
#ifdef GME_REPLAY_EMBED_ARGS
    { "embed-args", fuzz_embed_args },
#endif
};

static char current_input[4096] = "";

static void name_input(int number) {
    const char start[] = "\ntest-fuzz-replay died at ";
    ssize_t    ignored = write(2, start, sizeof start - 1);
    ignored += write(2, current_input, strlen(current_input));
    ignored += write(2, "\n", 1);
    (void) ignored;
    signal(number, SIG_DFL);
    raise(number);
}

// What the harness found, "" where nothing.
static std::string replay(const harness & which, const fs::path & path) {
    std::ifstream           file(path, std::ios::binary);
    const std::vector<char> bytes{ std::istreambuf_iterator<char>(file), {} };
    if (!file) {
        return "cannot be read";
    }
    snprintf(current_input, sizeof current_input, "%s", path.c_str());
    try {
        which.run(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
    } catch (const std::exception & found) {
        return found.what();
    }
    return "";
}

static std::vector<fs::path> files_of(const fs::path & folder) {
    std::vector<fs::path> files;
    if (fs::is_directory(folder)) {
        for (const auto & entry : fs::directory_iterator(folder)) {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    return files;
}

static void replay_all(const harness & which, const fs::path & inputs) {
    const auto start  = std::chrono::steady_clock::now();
    const auto corpus = files_of(inputs / "corpus" / which.name);
    uintmax_t  bytes  = 0;
    int        n_bad  = 0;
    for (const auto & path : corpus) {
        bytes += fs::file_size(path);
        const std::string found = replay(which, path);
        if (!found.empty()) {
            n_bad++;
            check(false, std::string(which.name) + ": " + path.filename().string() + ": " + found);
        }
    }
    check(!corpus.empty() && n_bad == 0, std::string("the corpus of ") + which.name + " keeps every promise");
    const auto findings = files_of(inputs / "findings" / which.name);
    for (const auto & path : findings) {
        const std::string found = replay(which, path);
        check(found.empty(), std::string(which.name) + ": " + path.filename().string() + " does not come back" + (found.empty() ? "" : ": " + found));
    }
    const auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
    std::printf("# fuzz %s: %zu corpus files of %ju bytes and %zu past findings replayed in %lld ms\n", which.name, corpus.size(), bytes,
                findings.size(), static_cast<long long>(spent));
}

int main(int argc, char ** argv) {
    setenv("GGML_NO_BACKTRACE", "1", 0);
    for (const int number : { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL }) {
        signal(number, name_input);
    }
    if (argc < 2) {
        std::fprintf(stderr, "usage: test-fuzz-replay FIXTURES [NAME FILE...]\n");
        return 2;
    }
    const fs::path fixtures = argv[1];
    setenv("GME_FUZZ_FIXTURES", fixtures.c_str(), 0);
    for (const auto & which : harnesses) {
        if (argc < 3) {
            replay_all(which, fixtures.lexically_normal().parent_path() / "fuzz");
        }
        for (int i = 3; i < argc && std::strcmp(argv[2], which.name) == 0; i++) {
            const std::string found = replay(which, argv[i]);
            check(found.empty(), std::string(argv[i]) + (found.empty() ? "" : ": " + found));
        }
    }
    return checks::result();
}
