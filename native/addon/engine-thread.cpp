#include "engine-thread.h"

#include <algorithm>
#include <utility>

#ifdef _WIN32
#include <process.h>
#include <windows.h>
#else
#include <pthread.h>
#endif

namespace gme_addon {

// The default differs too much (128 KiB on musl, 512 KiB on macOS, 8 MiB on glibc) to rely on.
static constexpr size_t stack_bytes = size_t(8) << 20;

bool NoticeQueue::open(napi_env env, napi_threadsafe_function_call_js drain, void * context) {
    napi_value name;
    if (napi_create_string_utf8(env, "gme-embed", NAPI_AUTO_LENGTH, &name) != napi_ok) {
        return false;
    }
    // Queue size 0 = unlimited: a bell rings once per batch of notices, so at most one call waits.
    if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, context, drain, &bell_) != napi_ok) {
        return false;
    }
    env_ = env;
    keep_loop_alive(false);
    return true;
}

void NoticeQueue::close() {
    napi_threadsafe_function bell;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        bell = bell_;
        bell_ = nullptr;
        entries_.clear();
    }
    if (bell) {
        napi_release_threadsafe_function(bell, napi_tsfn_abort);
    }
}

void NoticeQueue::keep_loop_alive(bool alive) {
    if (bell_) {
        alive ? napi_ref_threadsafe_function(env_, bell_) : napi_unref_threadsafe_function(env_, bell_);
    }
}

void NoticeQueue::post(notice_slot & slot, notice entry) noexcept {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!bell_) {
        return;
    }
    slot.front() = std::move(entry);
    entries_.splice(entries_.end(), slot);
    if (entries_.size() == 1) {
        // napi_closing is a normal answer: the environment is ending and nobody waits for the notice.
        napi_call_threadsafe_function(bell_, nullptr, napi_tsfn_nonblocking);
    }
}

notice_slot NoticeQueue::take() noexcept {
    notice_slot taken;
    std::lock_guard<std::mutex> lock(mutex_);
    taken.swap(entries_);
    return taken;
}

struct EngineThread::native_thread {
#ifdef _WIN32
    HANDLE handle = nullptr;
#else
    pthread_t handle{};
#endif
};

bool EngineThread::spawn() noexcept {
#ifdef _WIN32
    const auto entry = [](void * self) -> unsigned {
        static_cast<EngineThread *>(self)->loop();
        return 0;
    };
    thread_->handle = reinterpret_cast<HANDLE>(
        _beginthreadex(nullptr, unsigned(stack_bytes), entry, this, STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr));
    return thread_->handle != nullptr;
#else
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_attr_setstacksize(&attributes, stack_bytes);
    const auto entry = [](void * self) -> void * {
#ifdef __linux__
        pthread_setname_np(pthread_self(), "gme-engine");
#endif
        static_cast<EngineThread *>(self)->loop();
        return nullptr;
    };
    const int status = pthread_create(&thread_->handle, &attributes, entry, this);
    pthread_attr_destroy(&attributes);
    return status == 0;
#endif
}

std::shared_ptr<EngineThread> EngineThread::start(std::shared_ptr<NoticeQueue> notices) {
    std::shared_ptr<EngineThread> thread(new EngineThread(std::move(notices)));
    thread->thread_ = std::make_unique<native_thread>();
    if (!thread->spawn()) {
        thread->thread_.reset();
        return nullptr;
    }
    return thread;
}

EngineThread::EngineThread(std::shared_ptr<NoticeQueue> notices) : notices_(std::move(notices)), ended_slot_(1) {}

// Environment joins before it drops its reference, so nothing is left to do; a running thread would use freed memory.
EngineThread::~EngineThread() {
    join();
}

bool EngineThread::push(const std::shared_ptr<Job> & job) {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (finishing_) {
            return false;
        }
        queue_.push_back(job);
    }
    changed_.notify_one();
    return true;
}

bool EngineThread::push_last(const std::shared_ptr<Job> & job) {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (finishing_) {
            return false;
        }
        last_      = job;
        finishing_ = true;
    }
    changed_.notify_one();
    return true;
}

void EngineThread::finish() noexcept {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        finishing_ = true;
    }
    changed_.notify_one();
}

void EngineThread::stop() noexcept {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        finishing_ = true;
        queue_.clear();
        if (running_) {
            running_->abort();
        }
    }
    changed_.notify_one();
}

void EngineThread::join() noexcept {
    if (!thread_) {
        return;
    }
#ifdef _WIN32
    WaitForSingleObject(thread_->handle, INFINITE);
    CloseHandle(thread_->handle);
#else
    pthread_join(thread_->handle, nullptr);
#endif
    thread_.reset();
}

void EngineThread::withdraw(const std::shared_ptr<Job> & job) {
    job->abort();
    {
        std::lock_guard<std::mutex> lock(mutex_);
        const auto found = std::find(queue_.begin(), queue_.end(), job);
        if (found == queue_.end()) {
            return;
        }
        queue_.erase(found);
    }
    job->withdraw();
    notices_->post(job->settled_slot, {job, nullptr, false});
}

void EngineThread::post_progress(Job & job) noexcept {
    // The running job is the only one that reports; running_ is written by this thread alone.
    if (running_.get() == &job) {
        notices_->post(running_->progress_slot, {running_, nullptr, true});
    }
}

gme_memory EngineThread::memory() {
    std::lock_guard<std::mutex> lock(mutex_);
    return memory_;
}

void EngineThread::publish_memory() noexcept {
    const gme_memory now = model ? gme_model_memory(model) : gme_memory{};
    std::lock_guard<std::mutex> lock(mutex_);
    memory_ = now;
}

void EngineThread::loop() noexcept {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return finishing_ || !queue_.empty(); });
        if (queue_.empty()) {
            break;
        }
        running_ = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        running_->execute(*this);
        publish_memory();  // before JS hears of the end
        notices_->post(running_->settled_slot, {running_, nullptr, false});
        lock.lock();
        running_.reset();
    }
    std::shared_ptr<Job> last = std::move(last_);
    lock.unlock();

    if (model) {
        gme_model_free(model);
        model = nullptr;
        publish_memory();
    }
    if (last) {
        last->execute(*this);
    }
    notices_->post(ended_slot_, {std::move(last), shared_from_this(), false});
}

}  // namespace gme_addon
