// One thread with a first-in-first-out queue of jobs, and the model they run on. The model is loaded, used and freed on this
// thread and nowhere else, so the engine's rule "one call at a time per model" needs no lock.
//
//   JS thread: start -> push … -> push_last (close()) | finish (GC) | stop (environment's end) -> join
//   engine thread: wait -> execute -> post … -> gme_model_free -> post ended
#pragma once

#include "gme.h"
#include "job.h"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

namespace gme_addon {

// The notices of all engine threads of one environment, with one thread-safe function as the bell.
class NoticeQueue {
  public:
    // JS thread. `drain` runs on the JS thread after posts; env is NULL in it while the environment ends.
    bool open(napi_env env, napi_threadsafe_function_call_js drain, void * context);
    void close();                       // JS thread, when no engine thread runs any more
    void keep_loop_alive(bool alive);   // JS thread
    void post(notice_slot & slot, notice entry) noexcept;  // any thread; `slot` is empty afterwards
    notice_slot take() noexcept;                           // JS thread; all that were posted

  private:
    std::mutex               mutex_;
    notice_slot              entries_;
    napi_env                 env_  = nullptr;
    napi_threadsafe_function bell_ = nullptr;
};

class EngineThread : public std::enable_shared_from_this<EngineThread> {
  public:
    // NULL when the system gives no thread.
    static std::shared_ptr<EngineThread> start(std::shared_ptr<NoticeQueue> notices);

    ~EngineThread();

    bool push(const std::shared_ptr<Job> & job);       // false: closed
    bool push_last(const std::shared_ptr<Job> & job);  // false: closed already; no job gets in behind this one
    void finish() noexcept;                            // no more jobs come; those queued still run
    void stop() noexcept;                              // aborts the running job, drops the queued ones
    void join() noexcept;                              // JS thread; idempotent
    void withdraw(const std::shared_ptr<Job> & job);   // a queued job settles as aborted now, a running one at the next graph node
    gme_memory memory();                               // any thread: the model's bytes after the last job, zeros once it is freed

    // Engine thread.
    void        post_progress(Job & job) noexcept;
    gme_model * model = nullptr;

    // JS thread: what V8 was told of memory().
    int64_t accounted_bytes = 0;

  private:
    explicit EngineThread(std::shared_ptr<NoticeQueue> notices);

    void loop() noexcept;
    bool spawn() noexcept;
    void publish_memory() noexcept;

    struct native_thread;

    std::shared_ptr<NoticeQueue>     notices_;
    std::unique_ptr<native_thread>   thread_;
    std::mutex                       mutex_;
    std::condition_variable          changed_;
    std::deque<std::shared_ptr<Job>> queue_;
    std::shared_ptr<Job>             running_;
    std::shared_ptr<Job>             last_;
    gme_memory                       memory_{};  // read by others while the model computes
    notice_slot                      ended_slot_;
    bool                             finishing_ = false;
};

}  // namespace gme_addon
