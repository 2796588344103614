/* A resolver whose name servers do not answer: each lookup of *.invalid takes 20 seconds. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
  const char *end = name ? strrchr(name, '.') : NULL;
  int is_asked = !hints || !(hints->ai_flags & AI_NUMERICHOST);
  if (is_asked && end && strcmp(end, ".invalid") == 0) {
    sleep(20);
    return EAI_AGAIN;
  }
  return ((lookup *)dlsym(RTLD_NEXT, "getaddrinfo"))(name, service, hints, found);
}
