// stage-profile: times and operations of the parts of a call.
//
//   host work:  stage_timer around a scope                      -> add
//   graphs:     backend.cpp runs a graph section by section     -> add
//   gme_embed:  after the call, one callback per stage in order <- stages
//
// A call has some tens of stages, so they are found by going through them.

#include "stage-profile.h"

#include <algorithm>

namespace gme {

void stage_profile::add(const std::string & name, double milliseconds, double flop) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto at = std::find_if(stages_.begin(), stages_.end(), [&](const stage & known) { return known.name == name; });
    if (at == stages_.end()) {
        stages_.push_back({ name });
        at = stages_.end() - 1;
    }
    at->milliseconds += milliseconds;
    at->flop += flop;
    at->n_runs++;
}

std::vector<stage_profile::stage> stage_profile::stages() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stages_;
}

// Runs in a destructor: without memory for a new name the measurement is lost, not the call.
void stage_timer::stop() noexcept {
    try {
        const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start_;
        profile_->add(name_, took.count(), flop_);
    } catch (...) {
    }
}

}  // namespace gme
