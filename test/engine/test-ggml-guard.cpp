// What becomes of ggml's assertions and of exceptions that callbacks throw: errors on the calling thread, one line where the process must end.
#include "checks.h"
#include "engine-model.h"
#include "graph-ops.h"
#include "seeded-picture.h"

#include <algorithm>
#include <csignal>
#include <exception>
#include <functional>
#include <new>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

using checks::check;
using engine::text_item;

namespace {

const std::vector<float> numbers(64 * 64, 1.0f);

// A product of shapes that do not fit, which our own checks never let through.
void build_impossible_graph(gme::backend & cpu) {
    gme::graph    build(cpu, 8);
    ggml_tensor * a = build.input_f32(numbers.data(), 32, 4);
    ggml_tensor * b = build.input_f32(numbers.data(), 16, 4);
    build.add(ggml_mul_mat(build.context(), a, b));
    build.run();
}

// An assertion in the middle of a graph, on whichever thread of the pool comes first.
class failing_op : public gme::graph_op {
  public:
    void run(ggml_tensor *, int, char *) noexcept override { GGML_ABORT("at %p the op failed on purpose", static_cast<void *>(this)); }
};

void run_failing_graph() {
    gme::backend  cpu(2);
    gme::graph    build(cpu, 8);
    ggml_tensor * a = build.input_f32(numbers.data(), 64, 64);
    build.count_flop(1e12);  // worth sharing
    build.add(build.add_op(std::make_unique<failing_op>(), GGML_TYPE_F32, 64, 64, { a }));
    build.run();
}

struct ending {
    int         signal = 0;
    std::string said;  // on stderr
};

// How a process ends that does this. To be called while this one has one thread.
ending end_of(const std::function<void()> & what) {
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) {
        return {};
    }
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        dup2(pipe_ends[1], 2);
        close(pipe_ends[0]);
        what();
        _exit(0);
    }
    close(pipe_ends[1]);
    ending result;
    char   piece[512];
    for (ssize_t n = read(pipe_ends[0], piece, sizeof piece); n > 0; n = read(pipe_ends[0], piece, sizeof piece)) {
        result.said.append(piece, static_cast<size_t>(n));
    }
    close(pipe_ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return result;
}

long n_lines(const std::string & text) {
    return std::count(text.begin(), text.end(), '\n');
}

void check_endings() {
    const ending outside = end_of([] { ggml_abort("/some/where/ggml.c", 12, "GGML_ASSERT(%s) failed", "a == b"); });
    check(outside.signal == SIGABRT && n_lines(outside.said) == 1 && outside.said == "gme-embed: ggml cannot go on, the process ends: ggml.c:12: GGML_ASSERT(a == b) failed; please report this line\n",
          "L28 an assertion that nothing of ours called for ends the process with one line: " + outside.said);
    const ending inside = end_of(run_failing_graph);
    const bool   clean  = inside.said.find("0x?") != std::string::npos && inside.said.find('/') == std::string::npos;
    check(inside.signal == SIGABRT && clean && n_lines(inside.said) == 1,
          "L28 an assertion while a graph runs ends the process with one line, however many threads meet it, without addresses and paths: " + inside.said);
    const ending unhandled = end_of([] { std::terminate(); });
    check(unhandled.signal == SIGABRT && n_lines(unhandled.said) <= 2 && unhandled.said.find("0x") == std::string::npos,
          "L28 std::terminate starts no debugger and prints no backtrace");
    std::printf("# L28: a failed assertion outside a call writes %zu bytes in 1 line; no debugger is started\n", outside.said.size());
}

void check_assertions(const std::string & folder) {
    gme::backend cpu(2);
    std::string  words;
    for (int i = 0; i < 100; i++) {
        try {
            build_impossible_graph(cpu);
        } catch (const gme::ggml_failure & failure) {
            words = failure.what();
        }
    }
    check(words.rfind("ggml.c:", 0) == 0 && words.find("GGML_ASSERT(ggml_can_mul_mat(a, b)) failed") != std::string::npos,
          "L28 an assertion while a graph is built is an exception in ggml's words: " + words);

    engine::model    model(folder + "/gguf/tiny-a-f32.gguf");
    const auto       items  = std::vector<gme_item>{ text_item(words) };
    const auto       golden = model.embed(items);
    gme_embed_params with   = gme_embed_params_default();
    with.tap_data           = &cpu;
    with.tap                = [](const char *, const float *, int64_t, int64_t, void * data) { build_impossible_graph(*static_cast<gme::backend *>(data)); };
    std::vector<float> to(static_cast<size_t>(model.dimensions()));
    gme_error *        error = nullptr;
    gme_embed(model.handle, items.data(), 1, &with, to.data(), &error);
    check(error != nullptr && std::string(error->code) == "GME_INTERNAL" && words == error->message, "L28 for the caller it is GME_INTERNAL");
    gme_error_free(error);
    check(model.embed(items) == golden, "L28 and the model goes on with the same bits");
}

// Callbacks of the caller may be C++ and may throw what they like.
enum thrown { bad_alloc, length_error, runtime_error, number, n_thrown };
const char * const codes[n_thrown] = { "GME_OUT_OF_MEMORY", "GME_INTERNAL", "GME_INTERNAL", "GME_INTERNAL" };

[[noreturn]] void throw_one(void * which) {
    switch (*static_cast<int *>(which)) {
        case bad_alloc: throw std::bad_alloc();
        case length_error: throw std::length_error("length");
        case runtime_error: throw std::runtime_error("runtime");
        default: throw 7;
    }
}

struct late {
    int which = 0, left = 0;
};

// Inside a graph, on the calling thread, while the pool waits for it.
bool throw_later(void * data) {
    auto * when = static_cast<late *>(data);
    if (--when->left < 0) {
        throw_one(&when->which);
    }
    return false;
}

void check_callbacks(const std::string & folder) {
    gme_load_params params  = gme_load_params_default();
    params.image_tokens_min = 4;
    params.image_tokens_max = 64;
    engine::model         model(folder + "/gguf/tiny-a-f32.gguf", folder + "/gguf/mmproj-tiny-a-f32.gguf", 2, params);
    const auto            rgb    = seeded::noise(224, 224, 2);
    std::vector<gme_item> items  = { text_item(folder), text_item(folder) };
    items[1].image               = { rgb.data(), 224, 224 };
    const auto golden            = model.embed(items);
    long       n_calls = 0, n_right = 0, n_intact = 0;
    const auto tried = [&](const gme_embed_params & with, const char * code) {
        n_calls++;
        n_right += model.embed(items, with).empty() && model.failure.rfind(code, 0) == 0;
        n_intact += model.embed(items) == golden;
    };
    for (int which = 0; which < n_thrown; which++) {
        gme_embed_params with = gme_embed_params_default();
        with.tap_data = with.progress_data = with.profile_data = &which;
        with.tap = [](const char *, const float *, int64_t, int64_t, void * data) { throw_one(data); };
        tried(with, codes[which]);
        with.tap      = nullptr;
        with.progress = [](int32_t, void * data) { throw_one(data); };
        tried(with, codes[which]);
        with.progress = nullptr;
        with.profile  = [](const char *, double, double, int64_t, void * data) { throw_one(data); };
        tried(with, codes[which]);
        with.profile = nullptr;
        late when;
        when.which      = which;
        with.abort      = throw_later;
        with.abort_data = &when;
        for (const int at : { 0, 1, 5, 17, 40 }) {
            when.left = at;
            tried(with, codes[which]);
        }
    }
    check(n_right == n_calls, "L28 whatever a callback throws and wherever, the call ends with an error of ours");
    check(n_intact == n_calls, "L28 and the model goes on with the same bits");
    std::printf("# L28: %ld exceptions of 4 kinds from 4 callbacks, 5 places inside graphs among them: %ld errors, %ld times the same vectors after, 0 std::terminate\n", n_calls,
                n_right, n_intact);
}

void check_loading(const std::string & folder) {
    long n_right = 0;
    for (int which = 0; which < n_thrown; which++) {
        gme_load_params params = gme_load_params_default();
        params.progress_data   = &which;
        params.progress        = [](float, void * data) { throw_one(data); };
        n_right += engine::model(folder + "/gguf/tiny-a-f32.gguf", "", 2, params).failure.rfind(codes[which], 0) == 0;
        params.progress   = nullptr;
        params.abort      = [](void * data) -> bool { throw_one(data); };
        params.abort_data = &which;
        n_right += engine::model(folder + "/gguf/tiny-a-f32.gguf", "", 2, params).failure.rfind(codes[which], 0) == 0;
    }
    check(n_right == 2 * n_thrown, "L28 what a callback throws while loading is an error of ours");
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string folder = argc > 1 ? argv[1] : "test/fixtures";
    check_endings();
    check_assertions(folder);
    check_callbacks(folder);
    check_loading(folder);
    return checks::result();
}
