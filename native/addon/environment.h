// What the addon keeps per JS environment (the main thread, each worker): its engine threads, its unsettled jobs and the class of
// the model objects. It is the instance data; nothing of the addon is process-wide, so it can be loaded any number of times.
//
// Threads: every member function runs on the environment's JS thread.
#pragma once

#include "engine-thread.h"

#include <memory>
#include <unordered_set>
#include <vector>

namespace gme_addon {

class Environment {
  public:
    static bool          create(Napi::Env env);  // false: a JS exception is pending
    static Environment * of(napi_env env);

    // A NativeJob object { promise, abort } for `job` on `thread`; thread NULL: the system gave none. Empty when JS cannot run.
    Napi::Value submit(const std::shared_ptr<Job> & job, const std::shared_ptr<EngineThread> & thread, napi_value on_progress = nullptr);
    // The same for a job that never runs, because of bad arguments. A pending JS exception wins over `cause`.
    Napi::Value refuse(failure cause);
    // The promise of a job that is the last of its thread.
    napi_value submit_last(const std::shared_ptr<Job> & job, EngineThread & thread);

    std::shared_ptr<EngineThread> start_thread();    // for one model; NULL: the system gave none
    std::shared_ptr<EngineThread> service_thread();  // for work without a model; made at first use

    napi_ref model_class = nullptr;

  private:
    explicit Environment(napi_env env) : env_(env), notices_(std::make_shared<NoticeQueue>()) {}

    static void drain(napi_env env, napi_value, void * context, void *);
    static void shut_down(void * context);

    bool       halt_at_exit();
    void       halt();
    napi_value hold(const std::shared_ptr<Job> & job);
    void       let_go(const std::shared_ptr<Job> & job);
    void       settle(Job & job) noexcept;
    void       account(EngineThread & thread) noexcept;
    void       deliver_progress(Job & job) noexcept;
    void       handle(notice_slot & slot) noexcept;
    template <typename F> void enqueue(const std::shared_ptr<Job> & job, const F & push);

    napi_env                                   env_;
    std::shared_ptr<NoticeQueue>               notices_;
    std::vector<std::shared_ptr<EngineThread>> threads_;
    std::shared_ptr<EngineThread>              service_;
    std::unordered_set<std::shared_ptr<Job>>   pending_;
    bool                                       is_halted_ = false;  // no engine thread runs, none may start
};

}  // namespace gme_addon
