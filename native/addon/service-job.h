// Work without a model, on the environment's service thread: a look into a file, devices, the pixels of each resize, conversion of
// numbers, what the machine can do at most.
#pragma once

#include "embed-args.h"
#include "engine-thread.h"

namespace gme_addon {

class InspectJob : public Job {
  public:
    explicit InspectJob(std::string path) : path_(std::move(path)) {}
    napi_value result(napi_env env) override;  // JSON text

  protected:
    void run(EngineThread & thread) override;

  private:
    std::string path_;
    std::string json_;
};

class DeviceLibraryJob : public Job {
  public:
    explicit DeviceLibraryJob(std::string path) : path_(std::move(path)) {}
    napi_value result(napi_env env) override;  // undefined

  protected:
    void run(EngineThread & thread) override;

  private:
    std::string path_;
};

class DevicesJob : public Job {
  public:
    napi_value result(napi_env env) override;  // JSON text

  protected:
    void run(EngineThread & thread) override;

  private:
    std::string json_;
};

class PreprocessJob : public Job {
  public:
    PreprocessJob(image_args image, plan_args args) : image_(std::move(image)), args_(args) {}
    napi_value result(napi_env env) override;  // { loader, processor, pixelValues, plan }

  protected:
    void run(EngineThread & thread) override;

  private:
    image_args           image_;
    plan_args            args_;
    gme_image_plan       plan_{};
    std::vector<uint8_t> loader_;        // [loader_height, loader_width, 3]
    std::vector<uint8_t> processor_;     // [processor_height, processor_width, 3]
    std::vector<float>   pixel_values_;  // [grid_h*grid_w, 1176]
};

class ConvertJob : public Job {
  public:
    explicit ConvertJob(convert_args args) : args_(std::move(args)) {}
    napi_value result(napi_env env) override;  // Uint8Array

  protected:
    void run(EngineThread & thread) override;

  private:
    convert_args         args_;
    std::vector<uint8_t> target_;
};

class QuantizeJob : public Job {
  public:
    explicit QuantizeJob(quantize_args args) : args_(std::move(args)) {}
    napi_value result(napi_env env) override;  // Uint8Array

  protected:
    void run(EngineThread & thread) override;

  private:
    quantize_args        args_;
    std::vector<uint8_t> target_;  // [n_rows, row_bytes]
};

class RooflineJob : public Job {
  public:
    explicit RooflineJob(roofline_args args) : args_(std::move(args)) {}
    napi_value result(napi_env env) override;  // { gflops, weights: [rows, columns], tokens, repacked, readGigabytesPerSecond }

  protected:
    void run(EngineThread & thread) override;

  private:
    roofline_args args_;
    gme_roofline  roofline_{};
};

}  // namespace gme_addon
