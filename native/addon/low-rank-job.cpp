#include "low-rank-job.h"

#include "js-results.h"

namespace gme_addon {

void LowRankJob::run(EngineThread &) {
    target_.resize(size_t(args_.n_rows) * size_t(args_.n_columns) * sizeof(float));
    gme_error * error = nullptr;
    const gme_status status =
        gme_add_low_rank(args_.type.c_str(), args_.rows.data(), args_.n_rows, args_.n_columns, args_.a.data(), args_.b.data(), args_.rank,
                         args_.scale, reinterpret_cast<float *>(target_.data()), &error);
    conclude(status, error);
    args_ = {};
}

napi_value LowRankJob::result(napi_env env) {
    return js_uint8_array(env, target_.data(), target_.size());
}

}  // namespace gme_addon
