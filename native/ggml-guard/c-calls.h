// Included by the compiler in front of ggml's C files: what they take from the C library goes through ggml-guard.cpp.
#pragma once

#if !defined(_WIN32)

#include <pthread.h>
#include <stdlib.h>

#if defined(GME_SHARED)  // in the engine's library, for ggml's others
#pragma GCC visibility push(default)
#endif

#ifdef __cplusplus
extern "C" {
#endif

void * gme_ggml_malloc(size_t size);
void * gme_ggml_calloc(size_t n, size_t size);
int    gme_ggml_memalign(void ** target, size_t alignment, size_t size);
void   gme_ggml_free(void * memory);
int    gme_ggml_thread_create(pthread_t * thread, const pthread_attr_t * attributes, void * (*start)(void *), void * data);
int    gme_ggml_thread_join(pthread_t thread, void ** result);

#ifdef __cplusplus
}
#endif

#if defined(GME_SHARED)
#pragma GCC visibility pop
#endif

#ifndef GME_GGML_GUARD  // in ggml's files
#define malloc(size)                               gme_ggml_malloc(size)
#define calloc(n, size)                            gme_ggml_calloc(n, size)
#define posix_memalign(target, alignment, size)    gme_ggml_memalign(target, alignment, size)
#define free(memory)                               gme_ggml_free(memory)
#define pthread_create(thread, attributes, f, arg) gme_ggml_thread_create(thread, attributes, f, arg)
#define pthread_join(thread, result)               gme_ggml_thread_join(thread, result)
#endif

#endif
