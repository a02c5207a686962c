// The work that a loaded model does: vectors, stages, token counts, token ids.
#pragma once

#include "embed-args.h"
#include "engine-thread.h"

namespace gme_addon {

class EmbedJob : public Job {
  public:
    EmbedJob(std::vector<item_args> items, embed_args args) : items_(std::move(items)), args_(args) {}
    napi_value result(napi_env env) override;  // Float32Array, [n, dimensions] flat

  protected:
    void run(EngineThread & thread) override;

  private:
    std::vector<item_args> items_;
    embed_args             args_;
    std::vector<float>     embeddings_;  // [n, dimensions]
};

// Embeds as EmbedJob does and tells where the time went.
class ProfileJob : public Job {
  public:
    ProfileJob(std::vector<item_args> items, embed_args args) : items_(std::move(items)), args_(args) {}
    napi_value result(napi_env env) override;  // { vectors, stages: [{ name, milliseconds, flop, runs }] }

  protected:
    void run(EngineThread & thread) override;

  private:
    struct stage {
        std::string name;
        double      milliseconds = 0;
        double      flop         = 0;
        int64_t     runs         = 0;
    };

    static void add_stage(const char * name, double milliseconds, double flop, int64_t runs, void * user_data) noexcept;

    std::vector<item_args> items_;
    embed_args             args_;
    std::vector<float>     embeddings_;  // [n, dimensions]
    std::vector<stage>     stages_;
    bool                   memory_ran_out_ = false;
};

class StagesJob : public Job {
  public:
    StagesJob(item_args item, embed_args args) : item_(std::move(item)), args_(args) {}
    napi_value result(napi_env env) override;  // [{ name, shape, data }], in the order of the computation

  protected:
    void run(EngineThread & thread) override;

  private:
    struct stage {
        std::string          name;
        std::vector<int64_t> shape;
        std::vector<float>   data;
    };

    static void tap(const char * name, const float * data, int64_t n_rows, int64_t n_columns, void * user_data) noexcept;

    item_args          item_;
    embed_args         args_;
    std::vector<stage> stages_;
    bool               memory_ran_out_ = false;
};

class CountJob : public Job {
  public:
    CountJob(std::vector<item_args> items, bool parse_special) : items_(std::move(items)), parse_special_(parse_special) {}
    napi_value result(napi_env env) override;  // [{ text, image, total }]

  protected:
    void run(EngineThread & thread) override;

  private:
    std::vector<item_args>       items_;
    bool                         parse_special_;
    std::vector<gme_token_count> counts_;
};

class TokenizeJob : public Job {
  public:
    TokenizeJob(std::vector<std::string> texts, bool parse_special) : texts_(std::move(texts)), parse_special_(parse_special) {}
    napi_value result(napi_env env) override;  // [Int32Array]

  protected:
    void run(EngineThread & thread) override;

  private:
    std::vector<std::string>          texts_;
    bool                              parse_special_;
    std::vector<std::vector<int32_t>> ids_;
};

}  // namespace gme_addon
