// A piece of work for an engine thread and its way back to a JS promise.
//
//   JS thread: made by embed-args' structs -> Environment::submit
//   engine thread: execute() -> run()           (no JS value exists here)
//   JS thread: result() or the failure -> promise
//
// A job owns copies of all its inputs. Its JS side (promise, progress callback) belongs to Environment and is touched on the JS
// thread only; the destructor may run on any thread and touches nothing of JS.
#pragma once

#include "js-errors.h"

#include <atomic>
#include <memory>

struct gme_model;

namespace gme_addon {

class EngineThread;

class Job {
  public:
    virtual ~Job() = default;

    // Engine thread, once. Never throws: what run() throws becomes the failure.
    void execute(EngineThread & thread) noexcept;

    // JS thread. What the promise resolves to; NULL with or without a pending JS exception when it cannot be made.
    virtual napi_value result(napi_env env) = 0;

    // JS thread. Asks a running job to stop at the next graph node.
    void abort() noexcept { aborted_.store(true, std::memory_order_relaxed); }
    bool aborted() const noexcept { return aborted_.load(std::memory_order_relaxed); }

    // A job that is refused or withdrawn before it runs.
    void refuse(failure cause) { outcome_ = outcome::failed; cause_ = std::move(cause); }
    void withdraw() noexcept { outcome_ = outcome::aborted; }

    // After execute(), refuse() or withdraw().
    bool    succeeded() const noexcept { return outcome_ == outcome::done; }
    failure cause() const;

    double progress() const noexcept { return progress_.load(std::memory_order_relaxed); }
    // JS thread, before the value is read: a later report posts again.
    void progress_taken() noexcept { progress_posted_.store(false, std::memory_order_release); }

    // Written and read on the JS thread, by Environment.
    napi_deferred               deferred    = nullptr;
    napi_ref                    on_progress = nullptr;
    std::weak_ptr<EngineThread> thread;

  protected:
    virtual void run(EngineThread & thread) = 0;

    // For run(): the engine's answer. Takes the error.
    void conclude(int status, gme_error * error);

    // For run(): tells JS how far it is; reports that JS has not seen yet are replaced, not queued.
    void report(EngineThread & thread, double value) noexcept;

    // gme_abort_callback; user_data is the Job.
    static bool abort_asked(void * user_data) noexcept { return static_cast<Job *>(user_data)->aborted(); }

  private:
    enum class outcome { pending, done, failed, aborted, out_of_memory };

    std::atomic<bool>   aborted_{false};
    std::atomic<bool>   progress_posted_{false};
    std::atomic<double> progress_{0};
    outcome             outcome_ = outcome::pending;
    failure             cause_;
};

}  // namespace gme_addon
