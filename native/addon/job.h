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
#include <list>
#include <memory>

struct gme_model;

namespace gme_addon {

class EngineThread;
class Job;

// What an engine thread tells the JS thread. With `ended` set the thread runs no more and can be joined without waiting; the job
// beside it is the close() that ended it, if any.
struct notice {
    std::shared_ptr<Job>          job;
    std::shared_ptr<EngineThread> ended;
    bool                          progress = false;
};

// Room for one notice, made by whoever will post it: moving it into a queue takes no memory, so an engine thread that has run out of
// memory can still say so.
using notice_slot = std::list<notice>;

class Job {
  public:
    Job() : settled_slot(1), progress_slot(1) {}
    virtual ~Job() = default;
    Job(const Job &) = delete;

    // Engine thread, once. Never throws: what run() throws becomes the failure.
    void execute(EngineThread & thread) noexcept;

    // JS thread. What the promise resolves to; NULL with or without a pending JS exception when it cannot be made.
    virtual napi_value result(napi_env env) = 0;

    // JS thread, after the end of a job of which JS gets no result: it failed, was withdrawn, or nobody waits any more.
    virtual void discard() noexcept {}

    // JS thread. Asks a running job to stop at the next graph node.
    void abort() noexcept { aborted_.store(true, std::memory_order_relaxed); }
    bool aborted() const noexcept { return aborted_.load(std::memory_order_relaxed); }

    // A job that is refused or withdrawn before it runs.
    void refuse(failure cause) { outcome_ = outcome::failed; cause_ = std::move(cause); }
    void refuse_for_memory() noexcept { outcome_ = outcome::out_of_memory; }
    void withdraw() noexcept { outcome_ = outcome::aborted; }

    // After execute(), refuse() or withdraw().
    bool    succeeded() const noexcept { return outcome_ == outcome::done; }
    failure cause() const;

    double progress() const noexcept { return progress_.load(std::memory_order_relaxed); }
    // JS thread, before the value is read: a later report posts again. `slot` comes back empty-handed from the queue.
    void progress_taken(notice_slot & slot) noexcept {
        slot.front() = {};
        progress_slot.splice(progress_slot.end(), slot, slot.begin());
        progress_posted_.store(false, std::memory_order_release);
    }

    // Written and read on the JS thread, by Environment.
    napi_deferred               deferred    = nullptr;
    napi_ref                    on_progress = nullptr;
    std::weak_ptr<EngineThread> thread;

    // Spliced into the queue by EngineThread: the end once, a report again and again.
    notice_slot settled_slot;
    notice_slot progress_slot;

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
