// L34: a call leaves the floating-point unit of its thread as it was: rounding, masks, treatment of denormals.
#include "checks.h"
#include "engine-model.h"

#include <cfenv>
#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

using checks::check;

namespace {

// The control half of the state; the flags of exceptions that have been are no setting.
struct float_state {
    int      rounding;
    uint32_t control;
    bool operator==(const float_state & other) const { return rounding == other.rounding && control == other.control; }
};

float_state state_now() {
    float_state state = {std::fegetround(), 0};
#if defined(__x86_64__) || defined(_M_X64)
    state.control = _mm_getcsr() & ~0x3Fu;
#elif defined(__aarch64__) && !defined(_MSC_VER)
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    state.control = static_cast<uint32_t>(control);
#endif
    return state;
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string folder = argc > 1 ? argv[1] : "test/fixtures";
    const std::string pair[] = {folder + "/gguf/tiny-a-f32.gguf", folder + "/gguf/mmproj-tiny-a-f32.gguf"};
    std::vector<uint8_t> pixels(84 * 56 * 3, 99);
    int n_calls = 0, n_kept = 0;
    for (const int rounding : {FE_TONEAREST, FE_UPWARD, FE_TOWARDZERO}) {
        for (const int32_t n_threads : {1, 2}) {
            std::fesetround(rounding);
            const float_state before = state_now();
            const auto look = [&] {
                ++n_calls;
                n_kept += state_now() == before;
            };
            engine::model model(pair[0], pair[1], n_threads);
            look();
            gme_item picture = engine::text_item("a picture");
            picture.image = {pixels.data(), 84, 56};
            model.embed({engine::text_item("a text"), picture});
            look();
            model.embed({gme_item{}});
            look();
            std::fesetround(FE_TONEAREST);
        }
    }
    check(n_calls == 18 && n_kept == n_calls, "L34 loading, embedding and refusing leave rounding and denormals of the calling thread as they were");
    std::printf("# L34: control state of the floating-point unit compared after %d calls under 3 rounding modes, %d unchanged\n", n_calls, n_kept);
    return checks::result();
}
