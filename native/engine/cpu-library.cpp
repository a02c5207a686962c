// cpu-library: ggml's kernels for the processor.
//
//   linked in:    compiled for the processor of the machine that built them -> does this one have all of it?
//   beside us:    libgme-ggml-cpu-<level> for each level -> loaded, asked for its score on this processor -> the highest
//
// A build that is passed on has the second form (GME_PORTABLE). A library's score comes from code that is compiled for any processor of
// the architecture; the rest of it runs only after it was chosen.

#include "cpu-library.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "error.h"
#include "ggml-guard.h"
#include "library-handle.h"

namespace gme {

namespace {

#if !defined(GME_PORTABLE)

cpu_library choose_cpu_library() {
    if (const char * missing = missing_instructions()) {
        throw error("GME_DEVICE_UNAVAILABLE", std::string("this build needs a processor with ") + missing + ", which this one lacks: build the package on this machine")
            .at_field("cpu").found(std::string("no ") + missing).wanted("a processor like the one that it was built for");
    }
    return { "native", ggml_cpu_init, ggml_backend_cpu_reg, ggml_threadpool_new, ggml_threadpool_free, ggml_threadpool_pause,
             ggml_graph_plan, ggml_graph_compute };
}

#else

namespace fs = std::filesystem;

constexpr const char * name_begin = "gme-ggml-cpu-";  // after "lib" where the system has that

// "/somewhere/libgme-ggml-cpu-haswell.so" -> "haswell"; empty: another file.
std::string level_of(const fs::path & path) {
    const std::string stem  = path.stem().u8string();
    const size_t      begin = stem.rfind("lib", 0) == 0 ? 3 : 0;
    const std::string end   = path.extension().u8string();
    const bool        ours  = stem.compare(begin, std::string(name_begin).size(), name_begin) == 0 && (end == ".so" || end == ".dylib" || end == ".dll");
    return ours ? stem.substr(begin + std::string(name_begin).size()) : "";
}

struct candidate {
    std::string    level;
    library_handle library;
    int            score = 0;
};

// Loads one and asks it. What keeps it from being chosen goes to `reasons`.
candidate ask_library(const fs::path & path, std::string & reasons) {
    candidate      found = { level_of(path), {}, 0 };
    std::string    reason;
    int (*score)() = nullptr;
    found.library  = library_handle::open(path.u8string(), reason);
    if (found.library) {
        found.score = found.library.find("ggml_backend_score", score) ? score() : 0;
        reason      = "this processor lacks what it needs";
    }
    if (found.score <= 0) {
        reasons += (reasons.empty() ? "" : "; ") + printable(path.filename().u8string()) + ": " + printable(reason);
    }
    return found;
}

bool fill(cpu_library & target, const library_handle & from) {
    return from.find("ggml_cpu_init", target.init) && from.find("ggml_backend_cpu_reg", target.registry) &&
           from.find("ggml_threadpool_new", target.threadpool_new) &&
           from.find("ggml_threadpool_free", target.threadpool_free) && from.find("ggml_threadpool_pause", target.threadpool_pause) &&
           from.find("ggml_graph_plan", target.graph_plan) && from.find("ggml_graph_compute", target.graph_compute);
}

cpu_library choose_cpu_library() {
    const std::string folder = engine_folder();
    std::vector<fs::path> paths;
    std::error_code       failed;
    for (fs::directory_iterator at(fs::u8path(folder), failed), end; !failed && at != end; at.increment(failed)) {
        if (!level_of(at->path()).empty()) {
            paths.push_back(at->path());
        }
    }
    std::sort(paths.begin(), paths.end());
    std::string reasons;
    candidate   best;
    for (const auto & path : paths) {
        candidate found = ask_library(path, reasons);
        if (found.score > best.score) {
            best = found;
        }
    }
    cpu_library chosen;
    chosen.name = best.level;
    if (best.score > 0 && fill(chosen, best.library)) {
        return chosen;
    }
    if (paths.empty()) {
        reasons = "there is none";
    } else if (best.score > 0) {
        reasons = best.level + " is not of this engine";
    }
    throw error("GME_DEVICE_UNAVAILABLE", "no library of kernels in " + printable(folder) + " runs on this processor: " + reasons)
        .in_file(folder).at_field("cpu").found(reasons).wanted(std::string("a lib") + name_begin + "… that this processor can run");
}

#endif

}  // namespace

const cpu_library & find_cpu_library() {
    static const cpu_library chosen = choose_cpu_library();  // constant data, not state
    return chosen;
}

}  // namespace gme
