#include "job.h"

#include "engine-thread.h"
#include "gme.h"

#include <new>
#include <stdexcept>

namespace gme_addon {

void Job::execute(EngineThread & thread) noexcept {
    if (aborted()) {
        withdraw();
        return;
    }
    // Running out of memory is kept as a number: the text is made on the JS thread, where memory is free again.
    try {
        run(thread);
        if (outcome_ == outcome::pending) {
            outcome_ = outcome::done;
        }
    } catch (const std::bad_alloc &) {
        outcome_ = outcome::out_of_memory;
    } catch (const std::length_error &) {
        outcome_ = outcome::out_of_memory;
    } catch (const std::exception & error) {
        try {
            refuse(failure_internal(error.what()));
        } catch (...) {
            outcome_ = outcome::out_of_memory;
        }
    } catch (...) {
        outcome_ = outcome::failed;
    }
}

void Job::conclude(int status, gme_error * error) {
    if (status == GME_STATUS_OK) {
        outcome_ = outcome::done;
    } else if (status == GME_STATUS_ABORTED) {
        gme_error_free(error);
        outcome_ = outcome::aborted;
    } else {
        refuse(failure_from_engine(error));
    }
}

failure Job::cause() const {
    switch (outcome_) {
        case outcome::aborted:       return failure_aborted();
        case outcome::out_of_memory: return failure_out_of_memory();
        case outcome::failed:        return cause_.code.empty() ? failure_internal("unknown exception") : cause_;
        default:                     return failure_internal("the job did not run");
    }
}

void Job::report(EngineThread & thread, double value) noexcept {
    progress_.store(value, std::memory_order_relaxed);
    if (!progress_posted_.exchange(true, std::memory_order_acq_rel)) {
        thread.post_progress(*this);
    }
}

}  // namespace gme_addon
