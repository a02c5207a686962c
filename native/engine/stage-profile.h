// Where a call's time goes: per stage the time, the operations and how often it ran, in the order of first use.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace gme {

// Stages are named "<part>.<work>": "vision.product", "decoder.attention", "host.patches". May be filled from several threads.
class stage_profile {
  public:
    struct stage {
        std::string name;
        double      milliseconds = 0;
        double      flop         = 0;  // multiplications and additions of products; 0 where nobody counts
        int64_t     n_runs       = 0;
    };

    // Appended to the stage of nodes that a device cannot do.
    static constexpr const char * on_processor = ".processor";

    void               add(const std::string & name, double milliseconds, double flop);
    std::vector<stage> stages() const;

  private:
    mutable std::mutex mutex_;
    std::vector<stage> stages_;
};

// Times work on the calling thread until it goes out of scope; nothing with a nullptr profile. Stages must not lie inside one
// another (a graph that runs inside is counted by its own stages), or their sum passes the call's time.
class stage_timer {
  public:
    stage_timer(stage_profile * profile, const char * name, double flop = 0) : profile_(profile), name_(name), flop_(flop) {
        if (profile_ != nullptr) {
            start_ = std::chrono::steady_clock::now();
        }
    }
    ~stage_timer() {
        if (profile_ != nullptr) {
            stop();
        }
    }
    stage_timer(const stage_timer &)             = delete;
    stage_timer & operator=(const stage_timer &) = delete;

  private:
    void stop() noexcept;

    stage_profile *                       profile_;
    const char *                          name_;
    double                                flop_;
    std::chrono::steady_clock::time_point start_;
};

}  // namespace gme
