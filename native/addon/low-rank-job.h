// Merging a LoRA adapter's factors into rows of a weight, on the environment's service thread.
#pragma once

#include "embed-args.h"
#include "engine-thread.h"

namespace gme_addon {

class LowRankJob : public Job {
  public:
    explicit LowRankJob(low_rank_args args) : args_(std::move(args)) {}
    napi_value result(napi_env env) override;  // Uint8Array: [rows, columns] f32

  protected:
    void run(EngineThread & thread) override;

  private:
    low_rank_args        args_;
    std::vector<uint8_t> target_;
};

}  // namespace gme_addon
