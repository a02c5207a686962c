// Loads a model on the thread that will own it, and closes it.
#pragma once

#include "embed-args.h"
#include "engine-thread.h"

namespace gme_addon {

class LoadJob : public Job {
  public:
    explicit LoadJob(load_args args) : args_(std::move(args)) {}
    napi_value result(napi_env env) override;  // the model object

    void       discard() noexcept override;    // nobody will use the thread: it frees what it has loaded and ends

  protected:
    void run(EngineThread & thread) override;

  private:
    load_args   args_;
    std::string info_;
};

// The last job of a thread, run when the model is freed.
class CloseJob : public Job {
  public:
    napi_value result(napi_env env) override;  // undefined

  protected:
    void run(EngineThread &) override {}
};

}  // namespace gme_addon
