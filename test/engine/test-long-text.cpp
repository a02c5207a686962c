// The longest sequence GME allows: 32,768 tokens against the reference, in bounded memory; one token more is refused.
#include "checks.h"
#include "engine-model.h"
#include "json-reader.h"

#include <cmath>
#include <cstring>

#include <sys/resource.h>

using checks::check;
using engine::text_item;

namespace {

std::string read_all(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    return { std::istreambuf_iterator<char>(file), {} };
}

// The only tensor of a safetensors file, f32.
std::vector<float> read_vector(const std::string & path) {
    const std::string bytes = read_all(path);
    uint64_t          size  = 0;
    std::memcpy(&size, bytes.data(), sizeof size);
    std::vector<float> numbers((bytes.size() - 8 - size) / sizeof(float));
    std::memcpy(numbers.data(), bytes.data() + 8 + size, numbers.size() * sizeof(float));
    return numbers;
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string  folder = argc > 1 ? argv[1] : "test/fixtures";
    const std::string  text   = read_all(folder + "/more/long-32768.txt");
    const auto         golden = read_vector(folder + "/more/long-vectors.safetensors");
    engine::model      model(folder + "/gguf/tiny-a-f32.gguf");
    gme_token_count    count = {};
    const gme_item     item  = text_item(text);
    check(gme_count_tokens(model.handle, &item, false, &count, nullptr) == GME_STATUS_OK && count.total == 32768, "the text fills 32,768 tokens");
    const auto embedding = model.embed({ item });
    double     product = 0, largest = 0;
    for (size_t i = 0; i < embedding.size() && i < golden.size(); i++) {
        product += static_cast<double>(embedding[i]) * static_cast<double>(golden[i]);
        largest = std::max(largest, std::fabs(static_cast<double>(embedding[i]) - static_cast<double>(golden[i])));
    }
    check(embedding.size() == golden.size() && product >= 0.999999, "its vector is the reference's: cosine " + std::to_string(product));
    check(largest <= 2e-5, "largest difference " + std::to_string(largest * 1e6) + "e-6");
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
    const double mebibytes = static_cast<double>(usage.ru_maxrss) / (1 << 20);
#else
    const double mebibytes = static_cast<double>(usage.ru_maxrss) / 1024;
#endif
    check(mebibytes <= 2048, "peak memory " + std::to_string(mebibytes) + " MiB, at most 2 GiB");
    const std::string longer = text + " x";
    model.embed({ text_item(longer) });
    check(model.failure == "GME_TEXT_TOO_LONG text item 0", "T14 32,769 tokens are refused");
    const gme_item longer_item = text_item(longer);
    check(gme_count_tokens(model.handle, &longer_item, false, &count, nullptr) == GME_STATUS_OK && count.total == 32769, "and still counted");
    return checks::result();
}
