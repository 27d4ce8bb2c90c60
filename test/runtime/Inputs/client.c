/* Loads a package and prints the greedy continuation of three tokens: all that
   a C program needs to know of nestc. */
#include <nest/runtime.h>
#include <stdio.h>
#include <stdlib.h>

static void check(nest_status status) {
  if (status == NEST_OK)
    return;
  fprintf(stderr, "error: %s\n", nest_last_error());
  exit(1);
}

int main(int argc, char **argv) {
  nest_package *package;
  nest_session *session;
  check(nest_package_load(argc > 1 ? argv[1] : "package", &package));
  check(nest_session_create(package, NULL, &session));
  int64_t vocab = nest_package_vocab_size(package);
  float *logits = malloc(vocab * sizeof(float));
  int32_t prompt[] = {1, 2, 3}, token = 0;
  check(nest_session_prefill(session, prompt, 3, logits));
  for (int step = 0; step < 8; ++step) {
    token = 0;
    for (int64_t v = 1; v < vocab; ++v)
      if (logits[v] > logits[token])
        token = (int32_t)v;
    printf(step ? " %d" : "%d", token);
    check(nest_session_decode(session, &token, logits));
  }
  printf("\n");
  free(logits);
  nest_session_free(session);
  nest_package_free(package);
  return 0;
}
