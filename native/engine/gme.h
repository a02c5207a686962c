// gme.h: the engine as the addon, the tool and the tests see it.
//
// One opaque model, plain structs in, caller-owned floats out. The header is narrow on purpose: it names no ggml type, so
// that the graph library can change, and no Node type, so that the engine can be tested without Node.
//
//   gme_model_load -> gme_model_info / gme_embed / gme_tokenize … -> gme_model_free
//
// Threads: one call at a time per model; different models are independent. Strings are UTF-8 with explicit lengths.
// Source of every number: docs/model.md.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A build that is passed on has the engine as a library of its own, which shows these functions and ggml's.
#if !defined(GME_SHARED)
#define GME_API
#elif defined(_WIN32) && defined(GME_BUILDS_ENGINE)
#define GME_API __declspec(dllexport)
#elif defined(_WIN32)
#define GME_API __declspec(dllimport)
#else
#define GME_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gme_model gme_model;

typedef enum gme_status {
    GME_STATUS_OK      = 0,
    GME_STATUS_ERROR   = 1,  // *error is set
    GME_STATUS_ABORTED = 2,  // the abort callback answered true; *error is set (code GME_ABORTED)
} gme_status;

// What went wrong. Owned by the caller: free with gme_error_free. Strings are never NULL, empty where they do not apply.
typedef struct gme_error {
    const char * code;      // stable, GME_…
    const char * message;
    const char * file;
    const char * field;
    const char * value;     // what was found, at most 120 characters
    const char * expected;
    int64_t      offset;    // bytes from the start of the file, -1 where it does not apply
    int32_t      item;      // index of the offending item of gme_embed, -1 where it does not apply
} gme_error;

GME_API void gme_error_free(gme_error * error);

// Asked between graph nodes and between files' parts, on the calling or on a compute thread; true stops the call.
typedef bool (*gme_abort_callback)(void * user_data);

typedef enum gme_positions {
    GME_POSITIONS_FROM_FILE  = 0,  // gme.positions, else sequential
    GME_POSITIONS_SEQUENTIAL = 1,  // 0,1,2,… over all tokens: the published GME path
    GME_POSITIONS_MROPE      = 2,  // Qwen2-VL's (t, h, w) grid
} gme_positions;

typedef enum gme_toggle { GME_TOGGLE_FROM_FILE = 0, GME_TOGGLE_ON = 1, GME_TOGGLE_OFF = 2 } gme_toggle;

// The most that our own kernels may use of the processor; never more than it has. For measurements and tests.
typedef enum gme_cpu_limit { GME_CPU_ANY = 0, GME_CPU_PORTABLE = 1, GME_CPU_AVX2 = 2, GME_CPU_AVX512 = 3 } gme_cpu_limit;

typedef struct gme_load_params {
    const char *       mmproj;            // path of the vision tower's file; NULL: the model's own tower, else mmproj-*.gguf beside it
    int32_t            n_threads;         // 1…512
    bool               use_mmap;          // map the weights (default) or read them into owned memory
    gme_positions      positions;
    gme_toggle         loader_resize;     // the first of the two resizes; off for models tuned with a single one
    int32_t            image_tokens_min;  // 0: the file's, else 256
    int32_t            image_tokens_max;  // 0: the file's, else 1280
    int32_t            tokens_max;        // 0: the file's context length
    gme_cpu_limit      cpu_limit;
    const char *       device;            // "auto" (NULL), "cpu", or one of gme_devices by name or id, then without falling back
    gme_abort_callback abort;             // may be NULL
    void *             abort_data;
    void (*progress)(float fraction, void * user_data);  // 0…1, on the calling thread; may be NULL
    void *             progress_data;
} gme_load_params;

GME_API gme_load_params gme_load_params_default(void);

GME_API gme_status gme_model_load(const char * path, const gme_load_params * params, gme_model ** model, gme_error ** error);
GME_API void       gme_model_free(gme_model * model);

// JSON text, owned by the model: dimensions, sizes, types, limits, defaults in force, fingerprint, memory.
GME_API const char * gme_model_info(const gme_model * model);
GME_API int32_t      gme_model_dimensions(const gme_model * model);

// Bytes that a model takes between calls. During a call hidden states, keys and values come on top.
typedef struct gme_memory {
    int64_t mapped;   // weights mapped from files: the system loads their pages and may drop them
    int64_t owned;    // weights in memory of our own
    int64_t compute;  // the graphs' memory as the last call left it, and the threads' working memory
    int64_t kept;     // keys and values of the last few instructions' openings
} gme_memory;

GME_API gme_memory gme_model_memory(const gme_model * model);

// Adds the devices that a library of ggml's drives (libggml-vulkan.so …) to the process, for every model that is loaded from now on.
GME_API gme_status gme_device_library_add(const char * path, gme_error ** error);

// JSON text: the levels of the processor's kernels, ggml's and ours, and a list of devices with name, description, id, library and memory. Free with
// gme_string_free.
GME_API gme_status gme_devices_list(char ** json, gme_error ** error);

// JSON text of a file's keys, tensors and sizes without loading it as a model. Free with gme_string_free.
GME_API gme_status gme_file_inspect(const char * path, char ** json, gme_error ** error);
GME_API void       gme_string_free(char * text);

typedef struct gme_text {
    const char * data;  // NULL: no text; "" is a text
    size_t       size;  // bytes
} gme_text;

typedef struct gme_image {
    const uint8_t * rgb;  // [height, width, 3], row-major, 8 bit; NULL: no image
    int32_t         width;
    int32_t         height;
} gme_image;

typedef struct gme_item {
    gme_text  text;
    gme_image image;
    gme_text  instruction;  // data NULL: the model's default
} gme_item;

typedef enum gme_overflow {
    GME_OVERFLOW_ERROR     = 0,
    GME_OVERFLOW_TRUNCATE  = 1,  // cut the user's text, keep the closing tokens
    GME_OVERFLOW_REFERENCE = 2,  // cut the whole sequence from the right, as the published class does
} gme_overflow;

// A tapped tensor: rows of a stage, [n_rows, n_columns] f32 (n_rows 0: one-dimensional, [n_columns]).
typedef void (*gme_tap_callback)(const char * name, const float * data, int64_t n_rows, int64_t n_columns, void * user_data);

// Where the call's time went. flop: multiplications and additions of the stage's products, 0 where none are counted; runs: how
// often the stage ran. Stages do not overlap; the rest of the call's time is copies and bookkeeping between them.
typedef void (*gme_stage_callback)(const char * stage, double milliseconds, double flop, int64_t runs, void * user_data);

typedef struct gme_embed_params {
    gme_overflow       overflow;
    bool               parse_special;     // special strings in texts become control tokens (the reference); false: plain text
    int32_t            n_batch_tokens;    // tokens of several items that run in one pass; 0: the engine's choice
    gme_abort_callback abort;             // may be NULL
    void *             abort_data;
    gme_tap_callback   tap;               // may be NULL; with a tap every row of every stage is computed
    void *             tap_data;
    void (*progress)(int32_t n_done, void * user_data);  // after each pass; may be NULL
    void *             progress_data;
    gme_stage_callback profile;           // may be NULL; after a call that succeeded, once per stage in the order of first use
    void *             profile_data;
} gme_embed_params;

GME_API gme_embed_params gme_embed_params_default(void);

// Embeds n_items into `embeddings`, [n_items, dimensions] f32, unit length, memory of the caller.
GME_API gme_status gme_embed(gme_model * model, const gme_item * items, int32_t n_items, const gme_embed_params * params, float * embeddings, gme_error ** error);

typedef struct gme_token_count { int32_t text; int32_t image; int32_t total; } gme_token_count;

// Tokens the item would take; total counts the template too. Runs no graph and knows no limit; only the image's width
// and height are read.
GME_API gme_status gme_count_tokens(const gme_model * model, const gme_item * item, bool parse_special, gme_token_count * count, gme_error ** error);

// Ids of the bare text, without the template. *ids is freed with gme_ids_free.
GME_API gme_status gme_tokenize(const gme_model * model, gme_text text, bool parse_special, int32_t ** ids, size_t * n_ids, gme_error ** error);
GME_API void       gme_ids_free(int32_t * ids);

// Sizes a picture passes through. grid_* count patches of 14×14; image_tokens = grid_h*grid_w/4.
typedef struct gme_image_plan {
    int32_t loader_width, loader_height;
    int32_t processor_width, processor_height;
    int32_t grid_t, grid_h, grid_w;
    int32_t image_tokens;
} gme_image_plan;

GME_API gme_status gme_image_plan_make(int32_t width, int32_t height, bool loader_resize, int32_t image_tokens_min, int32_t image_tokens_max,
                               gme_image_plan * plan, gme_error ** error);

// The pixels of each stage, for tests and `gme inspect`. Buffers of the caller, sizes from the plan:
// loader_rgb [loader_h, loader_w, 3], processor_rgb [processor_h, processor_w, 3], pixel_values [grid_h*grid_w, 1176] f32.
GME_API gme_status gme_image_preprocess(const gme_image * image, const gme_image_plan * plan, uint8_t * loader_rgb, uint8_t * processor_rgb,
                                float * pixel_values, gme_error ** error);

// Converts n numbers between "f32", "f16" and "bf16" (round to nearest even), for the converter.
GME_API gme_status gme_convert_numbers(const char * from, const void * source, const char * to, void * target, size_t n, gme_error ** error);

// Bytes of a row of n_columns numbers of a type ("f16", "q8_0", …); 0: unknown type, or the row is no whole number of blocks.
GME_API size_t gme_row_size(const char * type, int64_t n_columns);

// rows [n_rows, n_columns] of "f32", "f16" or "bf16" to any type, n_rows * gme_row_size(to, n_columns) bytes of the caller's; the bytes are
// the same for every n_threads (1…512).
GME_API gme_status gme_quantize_rows(const char * from, const void * rows, int64_t n_rows, int64_t n_columns, const char * to, int32_t n_threads,
                             void * target, gme_error ** error);

// weight + scale * b·a in f32, for LoRA adapters: rows [n_rows, n_columns] of "f32", "f16" or "bf16", a [rank, n_columns],
// b [n_rows, rank], target [n_rows, n_columns].
GME_API gme_status gme_add_low_rank(const char * type, const void * rows, int64_t n_rows, int64_t n_columns, const float * a, const float * b,
                            int32_t rank, float scale, float * target, gme_error ** error);

// What this machine can do at most, for comparison with a profile.
typedef struct gme_roofline {
    double  gflops;                      // 1e9 multiplications and additions per second of the fastest product below
    int64_t n_in, n_out, n_tokens;       // its shape: weights [n_out, n_in] times rows [n_tokens, n_in]
    bool    repacked;                    // with the weights in another layout than the file's
    double  read_gigabytes_per_second;   // 1e9 bytes: a buffer larger than the caches read by all threads, or by the device; best pass
} gme_roofline;

// Best of several sizes of ggml's matrix product, weights of `type`, f32 rows, f32 accumulation, random numbers, in a thread pool of
// its own, and of reading memory; for about `seconds` (0…600; 0: the small sizes once). Takes up to 0.5 GiB meanwhile. On the processor
// (`device` NULL or "cpu"), or on the device of this name, its products and its memory.
GME_API gme_status gme_roofline_measure(const char * type, const char * device, int32_t n_threads, double seconds, gme_abort_callback abort, void * abort_data,
                                gme_roofline * roofline, gme_error ** error);

#ifdef __cplusplus
}
#endif
