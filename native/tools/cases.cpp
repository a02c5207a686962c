// cases: `gme-tool MODEL --cases LIST --vectors F`.
//
//   LIST: one item per line, five fields with tabs between: has text (0 or 1), text, picture (.ppm, or empty), has instruction, instruction;
//         in texts \\n, \\r, \\t and \\\\ stand for what they stand for in C
//   F:    [n_items, dimensions] f32 in the machine's byte order
//
// All items in one call, as a batch.

#include <cstdio>
#include <fstream>
#include <vector>

#include "picture-file.h"
#include "tool.h"

namespace tool {

namespace {

std::string unescape(const std::string & text) {
    std::string plain;
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] != '\\' || i + 1 == text.size()) {
            plain += text[i];
            continue;
        }
        const char next = text[++i];
        plain += next == 'n' ? '\n' : next == 'r' ? '\r' : next == 't' ? '\t' : next;
    }
    return plain;
}

std::vector<std::string> split(const std::string & line) {
    std::vector<std::string> fields(1);
    for (const char letter : line) {
        if (letter == '\t') {
            fields.emplace_back();
        } else {
            fields.back() += letter;
        }
    }
    return fields;
}

struct listed_item {
    std::string          text, instruction;
    std::vector<uint8_t> rgb;
    gme_item             item = {};
};

void read_item(const std::string & line, listed_item & to) {
    const auto fields = split(line);
    if (fields.size() != 5) {
        fail("a line of the list has " + std::to_string(fields.size()) + " fields instead of 5: " + line);
    }
    to.text        = unescape(fields[1]);
    to.instruction = unescape(fields[4]);
    if (fields[0] == "1") {
        to.item.text = { to.text.data(), to.text.size() };
    }
    if (fields[3] == "1") {
        to.item.instruction = { to.instruction.data(), to.instruction.size() };
    }
    if (!fields[2].empty()) {
        to.rgb            = read_ppm(fields[2], to.item.image);
        to.item.image.rgb = to.rgb.data();
    }
}

}  // namespace

void run_cases(gme_model * model, const std::string & list, const std::string & target) {
    std::ifstream file(list, std::ios::binary);
    if (!file) {
        fail(list + " cannot be read");
    }
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
        lines.push_back(line);
    }
    std::vector<listed_item> listed(lines.size());
    std::vector<gme_item>    items;
    for (size_t i = 0; i < lines.size(); i++) {
        read_item(lines[i], listed[i]);
        items.push_back(listed[i].item);
    }
    const gme_embed_params params = gme_embed_params_default();
    std::vector<float>     vectors(items.size() * static_cast<size_t>(gme_model_dimensions(model)));
    gme_error *            error = nullptr;
    if (gme_embed(model, items.data(), static_cast<int32_t>(items.size()), &params, vectors.data(), &error) != GME_STATUS_OK) {
        fail(error);
    }
    std::ofstream out(target, std::ios::binary);
    out.write(reinterpret_cast<const char *>(vectors.data()), static_cast<std::streamsize>(vectors.size() * sizeof(float)));
    if (!out.flush()) {
        fail(target + " cannot be written");
    }
}

}  // namespace tool
