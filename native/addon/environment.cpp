#include "environment.h"

#include <algorithm>
#include <new>
#include <utility>

namespace gme_addon {

// Three ways to the end, in the order of how much time they leave:
//
// 1. close(), the user's way. js_close pushes the last job; the thread runs what was queued, frees the model, posts `ended`; handle()
//    joins the thread and settles the promise.
// 2. Garbage collection of a model object that nobody closed. The finalizer (model-wrap.cpp) only says finish(): jobs whose promises
//    are still awaited run to their end, then the thread frees the model and posts `ended`. The JS thread waits for nothing.
// 3. The environment ends. halt() aborts what runs and joins every thread; promises still pending are never settled, no JS runs any
//    more. It is reached from two places, since neither covers all:
//    - the cleanup hook (worker.terminate(), end of the script) runs before the thread-safe function's own hook, because hooks run in
//      reverse order of registration; finalizers of model objects come later still and find stopped threads;
//    - process.exit() on the main thread runs no hooks but goes straight to exit(3), whose static destructors must not meet a thread
//      that computes; "exit" is the last event before it.

bool Environment::create(Napi::Env env) {
    auto * self = new Environment(env);
    env.SetInstanceData<Environment>(self);
    if (!self->notices_->open(env, drain, self)) {
        return false;
    }
    // After open(), so that it runs before the thread-safe function's own hook.
    return napi_add_env_cleanup_hook(env, shut_down, self) == napi_ok && self->halt_at_exit();
}

// The functions that halt the engines of this JS environment, one per load of the addon: of every copy of the package, and again after
// require.cache was emptied. They share one listener, since Node warns of an eleventh.
static constexpr const char * exit_list = "gme-embed: halt at exit";

static napi_value halt_all(napi_env env, napi_callback_info) {
    napi_value global;
    napi_value process;
    napi_value list;
    uint32_t   n = 0;
    if (napi_get_global(env, &global) != napi_ok || napi_get_named_property(env, global, "process", &process) != napi_ok ||
        napi_get_named_property(env, process, exit_list, &list) != napi_ok || napi_get_array_length(env, list, &n) != napi_ok) {
        n = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        napi_value halt;
        if (napi_get_element(env, list, i, &halt) == napi_ok) {
            napi_call_function(env, global, halt, 0, nullptr, nullptr);
        }
        js_exception_take(env);
    }
    return nullptr;
}

// process.once("exit", halt_all)
static bool listen_for_exit(napi_env env, napi_value process) {
    napi_value once;
    napi_value args[2];
    return napi_get_named_property(env, process, "once", &once) == napi_ok &&
           napi_create_string_utf8(env, "exit", NAPI_AUTO_LENGTH, &args[0]) == napi_ok &&
           napi_create_function(env, "haltEngines", NAPI_AUTO_LENGTH, halt_all, nullptr, &args[1]) == napi_ok &&
           napi_call_function(env, process, once, 2, args, nullptr) == napi_ok;
}

bool Environment::halt_at_exit() {
    const napi_callback on_exit = [](napi_env env, napi_callback_info) -> napi_value {
        of(env)->halt();
        return nullptr;
    };
    napi_value global;
    napi_value process;
    napi_value list;
    napi_value halt;
    bool       is_array = false;
    uint32_t   n        = 0;
    if (napi_get_global(env_, &global) != napi_ok || napi_get_named_property(env_, global, "process", &process) != napi_ok ||
        napi_get_named_property(env_, process, exit_list, &list) != napi_ok || napi_is_array(env_, list, &is_array) != napi_ok) {
        return false;
    }
    if (!is_array) {
        if (napi_create_array(env_, &list) != napi_ok || !listen_for_exit(env_, process)) {
            return false;
        }
        const napi_property_descriptor property = {exit_list, nullptr, nullptr, nullptr, nullptr, list, napi_default, nullptr};
        if (napi_define_properties(env_, process, 1, &property) != napi_ok) {
            return false;
        }
    }
    return napi_create_function(env_, "haltEngine", NAPI_AUTO_LENGTH, on_exit, nullptr, &halt) == napi_ok &&
           napi_get_array_length(env_, list, &n) == napi_ok && napi_set_element(env_, list, n, halt) == napi_ok;
}

Environment * Environment::of(napi_env env) {
    return Napi::Env(env).GetInstanceData<Environment>();
}

// All are told before the first is waited for.
void Environment::halt() {
    is_halted_ = true;
    for (const auto & thread : threads_) {
        thread->stop();
    }
    for (const auto & thread : threads_) {
        thread->join();
    }
}

void Environment::shut_down(void * context) {
    auto * self = static_cast<Environment *>(context);
    self->halt();
    self->notices_->close();
    self->threads_.clear();
    self->service_.reset();
    for (const auto & job : self->pending_) {
        if (job->on_progress) {
            napi_delete_reference(self->env_, std::exchange(job->on_progress, nullptr));
        }
    }
    self->pending_.clear();
    if (self->model_class) {
        napi_delete_reference(self->env_, std::exchange(self->model_class, nullptr));
    }
}

// Room for the entry comes first: a running thread that is not in the list would be waited for without end.
std::shared_ptr<EngineThread> Environment::start_thread() {
    if (is_halted_) {
        return nullptr;
    }
    threads_.reserve(threads_.size() + 1);
    auto thread = EngineThread::start(notices_);
    if (thread) {
        threads_.push_back(thread);
    }
    return thread;
}

std::shared_ptr<EngineThread> Environment::service_thread() {
    if (!service_) {
        service_ = start_thread();
    }
    return service_;
}

// The job's promise; NULL when JS cannot make one. An idle open model must not keep the process alive, a promise that somebody
// awaits must.
napi_value Environment::hold(const std::shared_ptr<Job> & job) {
    napi_value promise;
    pending_.insert(job);
    if (napi_create_promise(env_, &job->deferred, &promise) != napi_ok) {
        pending_.erase(job);
        return nullptr;
    }
    if (pending_.size() == 1) {
        notices_->keep_loop_alive(true);
    }
    return promise;
}

void Environment::let_go(const std::shared_ptr<Job> & job) {
    if (pending_.erase(job) == 1 && pending_.empty()) {
        notices_->keep_loop_alive(false);
    }
}

// { promise, abort }: what TypeScript calls a NativeJob. `job` may be gone or settled when abort() comes.
static Napi::Value handle_new(napi_env raw_env, napi_value promise, std::weak_ptr<Job> job) {
    Napi::Env env(raw_env);
    Napi::Object handle = Napi::Object::New(env);
    handle.Set("promise", Napi::Value(env, promise));
    handle.Set("abort", Napi::Function::New(env, [job](const Napi::CallbackInfo &) {
        const auto target = job.lock();
        const auto owner  = target ? target->thread.lock() : nullptr;
        if (owner) {
            owner->withdraw(target);
        }
    }, "abort"));
    return handle;
}

Napi::Value Environment::submit(const std::shared_ptr<Job> & job, const std::shared_ptr<EngineThread> & thread, napi_value on_progress) {
    if (!thread) {
        return refuse(is_halted_ ? failure_aborted() : failure_out_of_memory());
    }
    job->thread = thread;
    napi_value promise = hold(job);
    if (!promise) {
        job->discard();
        return Napi::Value();
    }
    if (on_progress) {
        napi_create_reference(env_, on_progress, 1, &job->on_progress);
    }
    Napi::Value handle;
    try {
        handle = handle_new(env_, promise, job);
    } catch (...) {
        job->deferred = nullptr;  // nobody has seen the promise
        settle(*job);
        let_go(job);
        throw;
    }
    enqueue(job, [&] { return thread->push(job); });
    return handle;
}

Napi::Value Environment::refuse(failure cause) {
    napi_value reason = js_exception_take(env_);
    napi_deferred deferred;
    napi_value promise;
    if ((!reason && !(reason = js_error_new(env_, cause))) || napi_create_promise(env_, &deferred, &promise) != napi_ok) {
        return Napi::Value();
    }
    napi_reject_deferred(env_, deferred, reason);
    return handle_new(env_, promise, {});
}

napi_value Environment::submit_last(const std::shared_ptr<Job> & job, EngineThread & thread) {
    napi_value promise = hold(job);
    if (promise) {
        enqueue(job, [&] { return thread.push_last(job); });
    }
    return promise;
}

// `push` answers false when the thread takes no more jobs and throws when there is no memory for one; both settle the promise now.
template <typename F> void Environment::enqueue(const std::shared_ptr<Job> & job, const F & push) {
    bool refused = true;
    try {
        refused = !push();
        if (refused) {
            job->refuse(failure_closed());
        }
    } catch (const std::bad_alloc &) {
        job->refuse_for_memory();
    }
    if (refused) {
        settle(*job);
        let_go(job);
    }
}

// NULL where the job failed or its result cannot be made.
static napi_value result_of(napi_env env, Job & job) noexcept {
    try {
        return job.succeeded() ? job.result(env) : nullptr;
    } catch (...) {
        return nullptr;
    }
}

static napi_value reason_of(napi_env env, const Job & job) noexcept {
    napi_value thrown = js_exception_take(env);
    if (thrown) {
        return thrown;
    }
    try {
        return js_error_new(env, job.succeeded() ? failure_out_of_memory() : job.cause());
    } catch (...) {
        return js_out_of_memory_new(env);
    }
}

// Runs inside a C callback of Node, so nothing may be thrown.
void Environment::settle(Job & job) noexcept {
    napi_deferred deferred = std::exchange(job.deferred, nullptr);
    napi_ref on_progress   = std::exchange(job.on_progress, nullptr);
    if (on_progress) {
        napi_delete_reference(env_, on_progress);
    }
    // Every status below may say that JS cannot run any more (a worker being terminated); then nobody waits for the promise.
    napi_value value = deferred ? result_of(env_, job) : nullptr;
    if (value) {
        napi_resolve_deferred(env_, deferred, value);
        return;
    }
    job.discard();
    napi_value reason = deferred ? reason_of(env_, job) : nullptr;
    if (reason) {
        napi_reject_deferred(env_, deferred, reason);
    }
}

// V8 counts what a model holds outside its heap, and collects models that nobody closed the sooner. Mapped weights are not memory
// that a collection gives back.
void Environment::account(EngineThread & thread) noexcept {
    const gme_memory memory = thread.memory();
    const int64_t    bytes  = memory.owned + memory.compute + memory.kept;
    int64_t          all    = 0;
    if (bytes != thread.accounted_bytes && napi_adjust_external_memory(env_, bytes - thread.accounted_bytes, &all) == napi_ok) {
        thread.accounted_bytes = bytes;
    }
}

// A callback that throws stops its own job, which then rejects with what was thrown.
void Environment::deliver_progress(Job & job) noexcept {
    napi_value callback;
    napi_value receiver;
    napi_value value;
    if (!job.on_progress || napi_get_reference_value(env_, job.on_progress, &callback) != napi_ok ||
        napi_get_undefined(env_, &receiver) != napi_ok || napi_create_double(env_, job.progress(), &value) != napi_ok) {
        return;
    }
    napi_call_function(env_, receiver, callback, 1, &value, nullptr);
    napi_value thrown = js_exception_take(env_);
    if (thrown && job.deferred) {
        job.abort();
        napi_reject_deferred(env_, std::exchange(job.deferred, nullptr), thrown);
    }
}

void Environment::handle(notice_slot & slot) noexcept {
    Napi::HandleScope scope(env_);
    const notice entry = slot.front();
    if (entry.progress) {
        entry.job->progress_taken(slot);
        deliver_progress(*entry.job);
        return;
    }
    slot.clear();
    if (entry.ended) {
        entry.ended->join();
        account(*entry.ended);
        threads_.erase(std::remove(threads_.begin(), threads_.end(), entry.ended), threads_.end());
    }
    if (entry.job) {
        const auto thread = entry.job->thread.lock();
        if (thread) {
            account(*thread);
        }
        settle(*entry.job);
        let_go(entry.job);
    }
    js_exception_take(env_);
}

void Environment::drain(napi_env env, napi_value, void * context, void *) {
    // env is NULL when the environment ends while a bell is still ringing: shut_down() has been here, *context may be gone.
    if (!env) {
        return;
    }
    auto * self = static_cast<Environment *>(context);
    notice_slot all = self->notices_->take();
    while (!all.empty()) {
        notice_slot one;
        one.splice(one.end(), all, all.begin());
        self->handle(one);
    }
}

}  // namespace gme_addon
