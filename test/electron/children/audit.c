// LD_AUDIT: every module's calls of the two functions that make external buffers are answered as Electron answers them.
// Writes how often, one line, to stderr at the end where GME_AUDIT_REPORT is set.
#define _GNU_SOURCE
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { no_external_buffers_allowed = 22 };
static unsigned refused;

static int refuse(void) {
  __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
  return no_external_buffers_allowed;
}

unsigned la_version(unsigned version) {
  (void)version;
  return LAV_CURRENT;
}

unsigned la_objopen(struct link_map *map, Lmid_t lmid, uintptr_t *cookie) {
  (void)map, (void)lmid, (void)cookie;
  return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

uintptr_t la_symbind64(Elf64_Sym *sym, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags, const char *name) {
  (void)index, (void)from, (void)to, (void)flags;
  if (strcmp(name, "napi_create_external_arraybuffer") == 0 || strcmp(name, "napi_create_external_buffer") == 0)
    return (uintptr_t)refuse;
  return sym->st_value;
}

__attribute__((destructor)) static void report(void) {
  if (getenv("GME_AUDIT_REPORT") != NULL) fprintf(stderr, "refused %u external buffers\n", refused);
}
