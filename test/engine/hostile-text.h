// Texts that try to break a tokenizer: long runs, and seeded strings over all planes of Unicode; the clock and the stack they run on.
#pragma once

#include "checks.h"
#include "utf8.h"

#include <array>
#include <cstdint>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#ifndef _WIN32
#include <pthread.h>
#endif

namespace hostile {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(NDEBUG)
inline constexpr double time_factor = 20;
#else
inline constexpr double time_factor = 1;
#endif

// Processor time, so that a busy machine does not fail the gates.
inline double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Runs on a thread with 256 KiB of stack, the smallest that an embedder is likely to have.
inline void run_on_small_stack(const std::function<void()> & action) {
#ifdef _WIN32
    action();
#else
    const auto enter = [](void * argument) -> void * {
        (*static_cast<const std::function<void()> *>(argument))();
        return nullptr;
    };
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    pthread_t thread;
    if (pthread_create(&thread, &attributes, enter, const_cast<std::function<void()> *>(&action)) == 0) {
        pthread_join(thread, nullptr);
    } else {
        checks::check(false, "a thread with 256 KiB of stack starts");
    }
    pthread_attr_destroy(&attributes);
#endif
}

inline std::string repeated(std::string_view unit, size_t n) {
    std::string text;
    text.reserve(unit.size() * n);
    for (size_t i = 0; i < n; ++i) {
        text.append(unit);
    }
    return text;
}

inline std::string random_code_points(size_t n_bytes, uint32_t first, uint32_t last, uint32_t seed = 7) {
    std::mt19937 random(seed);
    std::string text;
    while (text.size() < n_bytes) {
        gme::utf8_append(text, first + static_cast<uint32_t>(random() % (last - first + 1)));
    }
    return text;
}

// One kind of long text in any length: at least n_bytes of it.
struct long_text { const char * title; std::function<std::string(size_t)> make; };

inline std::vector<long_text> long_texts() {
    const auto runs = [](const char * title, const char * unit) {
        return long_text{title, [unit](size_t n) { return repeated(unit, n / std::string_view(unit).size() + 1); }};
    };
    const auto random = [](const char * title, uint32_t first, uint32_t last) {
        return long_text{title, [=](size_t n) { return random_code_points(n, first, last); }};
    };
    return {
        {"T10 one letter with combining marks", [](size_t n) { return "a" + random_code_points(n, 0x300, 0x34E); }},
        {"T10 marks of one class", [](size_t n) { return "a" + repeated("\u0301", n / 2); }},
        {"T10 marks in falling classes", [](size_t n) { return "a" + repeated("\u0345\u0301\u0323\u0327\u0334", n / 10); }},
        runs("T11 A", "A"), runs("T11 Z", "Z"), runs("T11 full stops", "."), runs("T11 spaces", " "), runs("T11 newlines", "\n"),
        runs("T11 CJK", "\u5B57"), runs("T11 digits", "7"), runs("T11 'us'", "'us'"), runs("T11 spaces before newlines", "  \n"),
        random("T19 random letters", 'a', 'z'), random("T19 random Latin-1", 0x80, 0xFF), random("T19 random CJK", 0x4E00, 0x9FFF),
        random("T19 random private use", 0x100000, 0x10FFFD), runs("T19 alternating rare pairs", "qzxj"),
        runs("T19 a long token again and again", "ServletException"), runs("T19 a long token cut short", "ServletExceptio"),
        runs("T19 halves of a special string", "<|im_"), runs("T19 doubled letters", "aabb"),
        {"T19 random bytes", [](size_t n) {
            std::mt19937 bytes(11);
            std::string text;
            while (text.size() < n) {
                text += static_cast<char>(bytes() & 0xFF);
            }
            return text;
        }},
        runs("T12 prose", "The quick brown fox jumps over the lazy dog, doesn't it? "),
        runs("T12 decomposed Korean", "\u1112\u1161\u11AB\u1100\u1173\u11AF "),
    };
}

// splitmix64: the same numbers on every platform.
class random_numbers {
  public:
    explicit random_numbers(uint64_t seed) : state(seed) {}
    uint64_t next() {
        uint64_t z = (state += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }

  private:
    uint64_t state;
};

inline uint32_t random_scalar(random_numbers & random) {
    const uint32_t value = random.below(0x110000 - 0x800);
    return value < 0xD800 ? value : value + 0x800;
}

inline const std::array<const char *, 40> fragments = {
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|im_", "end|>",
    "<|", "|>", "<|image_pad|", "'s", "'T", "'re", "'Ve", "'LL", "'d", "'\u017F", "\r\n", "\n\n", "  ", "\t", "\u00A0", "\u2028", "\u0085",
    "\u200B", "\u180E", "\u200D", "\uFE0F", "\u202E", "\u2066", "\U0001F468\u200D\U0001F469\u200D\U0001F467", "\U0001F1E9\U0001F1EA",
    "\U0001F3FD", "e\u0301", "\u1112\u1161\u11AB", "\u0E33", "\uFF21\uFB01", "1234",
};

// String number `index` of a fixed series: stretches of one block, of all planes, of fragments, of white space, of marks.
inline std::string random_text(uint64_t index) {
    random_numbers random(index * 0x2545F4914F6CDD1Du + 1);
    const uint32_t n = random.below(64) == 0 ? 200 + random.below(800) : 1 + random.below(48);
    std::string text;
    for (uint32_t done = 0; done < n;) {
        const uint32_t style = random.below(10), block = random.below(0x1100 * 2) * 128;
        for (const uint32_t end = done + 1 + random.below(12); done < end && done < n; ++done) {
            uint32_t value = random_scalar(random);
            switch (style) {
                case 0: case 1: value = block + random.below(128); break;       // one half-block of any plane
                case 2: value = random.below(0x3000); break;                    // alphabets
                case 3: value = 0x20 + random.below(0x5F); break;               // ASCII
                case 4: value = "abcdefghijklmnopqrstuvwxyz      "[random.below(32)]; break;
                case 5: value = 0x300 + random.below(0x70); break;              // combining marks
                case 6: value = random.below(0x21); break;                      // controls
                case 7: text += fragments[random.below(fragments.size())]; continue;
                case 8: value = 0xAC00 + random.below(11172); break;            // Hangul
                default: break;                                                 // anything
            }
            if (value < 0xD800 || (value > 0xDFFF && value < 0x110000)) {
                gme::utf8_append(text, value);
            }
        }
    }
    return text;
}

}  // namespace hostile
