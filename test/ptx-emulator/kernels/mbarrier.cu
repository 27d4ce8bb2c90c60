// compile: mbarrier.ptx nvcc -arch=sm_90a
//
// mbarriers: arrivals, transactions, phases. No result depends on the schedule.
#include "hopper.h"

#define STATE(text, ...)                                                       \
  ({                                                                           \
    u64 state;                                                                 \
    ASM("mbarrier." text : "=l"(state) : __VA_ARGS__);                         \
    state;                                                                     \
  })
#define DONE(text, ...)                                                        \
  ({                                                                           \
    u32 done;                                                                  \
    ASM("{\n\t.reg .pred %%p;\n\tmbarrier." text                               \
        "\n\tselp.u32 %0, 1, 0, %%p;\n\t}" : "=r"(done) : __VA_ARGS__);        \
    done;                                                                      \
  })
__device__ u32 pending(u64 state) {
  u32 count;
  ASM("mbarrier.pending_count.b64 %0, %1;" : "=r"(count) : "l"(state));
  return count;
}

// Operations of a list, by one thread: opcode and operand. The reference has
// the same list and an mbarrier of its own.
KERNEL script(const u32 *list, u32 *out, u32 n) {
  __shared__ u64 barrier;
  u32 bar = AT(&barrier);
  u64 state = 0;
  for (u32 k = 0; k < n; ++k) {
    u32 x = list[2 * k + 1], result = 0;
    switch (list[2 * k]) {
    case 0:
      ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(x));
      break;
    case 1:
      ASM("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(bar));
      break;
    case 2:
      state = STATE("arrive.shared::cta.b64 %0, [%1];", "r"(bar));
      break;
    case 3:
      state = STATE("arrive.release.cta.shared::cta.b64 %0, [%1], %2;",
                    "r"(bar), "r"(x));
      break;
    case 4:
      state = STATE("arrive.noComplete.release.cta.shared::cta.b64 %0, [%1], "
                    "%2;",
                    "r"(bar), "r"(x));
      break;
    case 5:
      state = STATE("arrive.expect_tx.release.cta.shared::cta.b64 %0, [%1], "
                    "%2;",
                    "r"(bar), "r"(x));
      break;
    case 6:
      state =
          STATE("arrive_drop.shared::cta.b64 %0, [%1], %2;", "r"(bar), "r"(x));
      break;
    case 7:
      state = STATE("arrive_drop.noComplete.shared::cta.b64 %0, [%1], %2;",
                    "r"(bar), "r"(x));
      break;
    case 8:
      state = STATE("arrive_drop.expect_tx.shared::cta.b64 %0, [%1], %2;",
                    "r"(bar), "r"(x));
      break;
    case 9:
      ASM("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(bar),
          "r"(x));
      break;
    case 10:
      ASM("mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(
              bar),
          "r"(x));
      break;
    case 11:
      result = pending(state);
      break;
    case 12:
      result = DONE("test_wait.shared::cta.b64 %%p, [%1], %2;", "r"(bar),
                    "l"(state));
      break;
    case 13:
      result = DONE("test_wait.parity.acquire.cta.shared::cta.b64 %%p, [%1], "
                    "%2;",
                    "r"(bar), "r"(x));
      break;
    case 14:
      result = DONE("try_wait.shared::cta.b64 %%p, [%1], %2, 100;", "r"(bar),
                    "l"(state));
      break;
    case 15:
      result = DONE("try_wait.parity.shared::cta.b64 %%p, [%1], %2, 20;",
                    "r"(bar), "r"(x));
      break;
    }
    out[k] = result;
  }
}

// After inval the memory is memory again.
KERNEL invalidated(const u64 *a, u64 *out) {
  __shared__ u64 word[2];
  u32 t = threadIdx.x;
  if (t == 0) {
    init(AT(&word[0]), 1);
    arrive(AT(&word[0]));
    ASM("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(AT(&word[0])));
    word[0] = a[0];
  }
  __syncthreads();
  u64 before = word[0];
  __syncthreads();
  if (t == 0)
    init(AT(&word[0]), blockDim.x);
  __syncthreads();
  if (t == 5)
    word[1] = a[1];
  arrive(AT(&word[0]));
  wait(AT(&word[0]), 0);
  out[t] = before + word[1];
}

// Every thread arrives and waits; what was stored before is there after. Each
// form of wait in turn, and a second barrier between reading and storing.
KERNEL crowd(const u32 *a, u32 *out, u32 phases) {
  __shared__ u64 barriers[2];
  __shared__ u32 tile[256];
  u32 t = threadIdx.x, n = blockDim.x, sum = 0;
  u32 full = AT(&barriers[0]), empty = AT(&barriers[1]);
  if (t == 0) {
    init(full, n);
    init(empty, n);
  }
  __syncthreads();
  for (u32 k = 0; k < phases; ++k) {
    tile[t] = a[k * n + t] + sum;
    u64 state = STATE("arrive.shared::cta.b64 %0, [%1];", "r"(full));
    switch (k % 6) {
    case 0:
      while (!DONE("test_wait.shared::cta.b64 %%p, [%1], %2;", "r"(full),
                   "l"(state)))
        ;
      break;
    case 1:
      while (!DONE("try_wait.acquire.cta.shared::cta.b64 %%p, [%1], %2;",
                   "r"(full), "l"(state)))
        ;
      break;
    case 2:
      while (!DONE("try_wait.shared::cta.b64 %%p, [%1], %2, 40;", "r"(full),
                   "l"(state)))
        ;
      break;
    case 3:
      while (!DONE("test_wait.parity.shared::cta.b64 %%p, [%1], %2;", "r"(full),
                   "r"(k & 1)))
        ;
      break;
    case 4:
      while (!DONE("try_wait.parity.acquire.cluster.shared::cta.b64 %%p, [%1], "
                   "%2;",
                   "r"(full), "r"(k & 1)))
        ;
      break;
    case 5:
      while (!DONE("try_wait.parity.b64 %%p, [%1], %2, 1000;",
                   "l"(&barriers[0]), "r"(k & 1)))
        ;
      break;
    }
    sum = sum * 3 + tile[n - 1 - t] + tile[(t + k) % n];
    arrive(empty);
    wait(empty, k & 1);
  }
  out[t] = sum;
}

// Threads arrive with counts of their own, some in several pieces.
KERNEL counts(const u32 *a, u32 *out) {
  __shared__ u64 barrier;
  __shared__ u32 tile[64];
  u32 t = threadIdx.x, bar = AT(&barrier);
  if (t == 0)
    init(bar, 64 * 5 / 2);
  __syncthreads();
  for (u32 phase = 0; phase < 3; ++phase) {
    u32 count = (t + phase) % 4 + 1;
    tile[t] = a[t] * (phase + 1);
    if (count == 4) {
      STATE("arrive.noComplete.shared::cta.b64 %0, [%1], 2;", "r"(bar));
      ASM("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0], 2;" ::"r"(bar));
    } else {
      ASM("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(bar),
          "r"(count));
    }
    wait(bar, phase & 1);
    out[phase * 64 + t] = tile[(t * 7 + phase) % 64];
    __syncthreads();
  }
}

// Each of the pending counts is seen by one thread: their sum is known.
KERNEL pending_counts(u32 *out) {
  __shared__ u64 barrier;
  __shared__ u32 sum, squares;
  u32 t = threadIdx.x, bar = AT(&barrier);
  if (t == 0) {
    init(bar, blockDim.x + 1);
    sum = squares = 0;
  }
  __syncthreads();
  u64 state = STATE("arrive.noComplete.shared::cta.b64 %0, [%1], 1;", "r"(bar));
  u32 count = pending(state);
  atomicAdd(&sum, count);
  atomicAdd(&squares, count * count);
  __syncthreads();
  if (t == 0) {
    arrive(bar);
    wait(bar, 0);
    out[0] = sum;
    out[1] = squares;
  }
}

// A warp leaves after each phase: the rest goes on with fewer arrivals.
KERNEL leaving(const u32 *a, u32 *out) {
  __shared__ u64 barrier;
  __shared__ u32 tile[2][128];
  u32 t = threadIdx.x, warp = t / 32, bar = AT(&barrier), x = a[t];
  if (t == 0)
    init(bar, 128);
  __syncthreads();
  for (u32 phase = 0; phase < 3; ++phase) {
    tile[phase & 1][t] = x;
    u32 there = 128 - 32 * phase;
    if (warp == 3 - phase) {
      STATE("arrive_drop.release.cta.shared::cta.b64 %0, [%1];", "r"(bar));
      break;
    }
    arrive(bar);
    wait(bar, phase & 1);
    x = x * 3 + tile[phase & 1][(t * 5 + phase) % there];
  }
  out[t] = x;
}

// One producer warp and three of consumers, a ring of four slots.
KERNEL ring(const u32 *a, u32 *out, u32 n) {
  __shared__ u64 full[4], empty[4];
  __shared__ u32 slots[4][32];
  u32 t = threadIdx.x, lane = t % 32, warp = t / 32;
  if (t < 4) {
    init(AT(&full[t]), 32);
    init(AT(&empty[t]), 96);
  }
  __syncthreads();
  if (warp == 0) {
    for (u32 k = 0; k < n; ++k) {
      // The first round passes: the phase before the first is complete.
      wait(AT(&empty[k % 4]), k / 4 & 1 ^ 1);
      slots[k % 4][lane] = a[32 * k + lane];
      arrive(AT(&full[k % 4]));
    }
  } else {
    u32 sum = warp;
    for (u32 k = 0; k < n; ++k) {
      wait(AT(&full[k % 4]), k / 4 & 1);
      sum = sum * 5 + slots[k % 4][(lane + warp) % 32];
      arrive(AT(&empty[k % 4]));
    }
    out[t - 32] = sum;
  }
}

// Only one lane of a warp waits and arrives; the others follow by the warp's
// own synchronisation.
KERNEL ring_of_leaders(const u32 *a, u32 *out, u32 n) {
  __shared__ u64 full[2], empty[2];
  __shared__ u32 slots[2][32];
  u32 t = threadIdx.x, lane = t % 32, warp = t / 32;
  if (t == 0)
    for (u32 k = 0; k < 2; ++k) {
      init(AT(&full[k]), 1);
      init(AT(&empty[k]), 2);
    }
  __syncthreads();
  u32 sum = warp;
  for (u32 k = 0; k < n; ++k) {
    u32 slot = k % 2, parity = k / 2 & 1;
    if (warp == 0) {
      wait(AT(&empty[slot]), parity ^ 1);
      slots[slot][lane] = a[32 * k + lane];
      __syncwarp();
      if (lane == 0)
        arrive(AT(&full[slot]));
    } else {
      if (lane == 7)
        wait(AT(&full[slot]), parity);
      __syncwarp();
      sum = sum * 7 + slots[slot][lane ^ warp];
      __syncwarp();
      if (lane == 31)
        arrive(AT(&empty[slot]));
    }
  }
  if (warp)
    out[t - 32] = sum;
}

#define COPY(to, from)                                                         \
  ASM("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(AT(to)), "l"(from))

// Copies without bulk arrive: with .noinc the arrival is one of those expected,
// otherwise it is expected on top and a thread has still to arrive itself.
KERNEL copied(const u32 *a, u32 *out) {
  __shared__ u64 barriers[2];
  __shared__ u32 tile[2][128];
  u32 t = threadIdx.x;
  if (t < 2)
    init(AT(&barriers[t]), 64);
  __syncthreads();
  COPY(&tile[0][t], a + t);
  COPY(&tile[0][64 + t], a + 64 + t);
  ASM("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(
      AT(&barriers[0])));
  COPY(&tile[1][t], a + 128 + t);
  ASM("cp.async.mbarrier.arrive.shared::cta.b64 [%0];" ::"r"(AT(&barriers[1])));
  COPY(&tile[1][64 + t], a + 192 + t);
  ASM("cp.async.mbarrier.arrive.shared::cta.b64 [%0];" ::"r"(AT(&barriers[1])));
  arrive(AT(&barriers[1]));
  wait(AT(&barriers[0]), 0);
  u32 x = tile[0][127 - t] + tile[0][63 - t];
  wait(AT(&barriers[1]), 0);
  out[t] = x + 3 * tile[1][127 - t] + 5 * tile[1][t ^ 32];
}

// The block is its own cluster: arrivals by way of the cluster's window, and
// transactions that one thread completes for another.
KERNEL own_cluster(const u32 *a, u32 *out) {
  __shared__ u64 barrier;
  __shared__ u32 tile[64];
  u32 t = threadIdx.x, bar = AT(&barrier), mapped;
  if (t == 0) {
    init(bar, 64);
    ASM("mbarrier.expect_tx.relaxed.cluster.shared::cta.b64 [%0], %1;" ::"r"(
            bar),
        "r"(64 * 4));
    fence_init();
  }
  ASM("barrier.cluster.arrive.release.aligned;\n\t"
      "barrier.cluster.wait.acquire.aligned;" ::);
  ASM("mapa.shared::cluster.u32 %0, %1, 0;" : "=r"(mapped) : "r"(bar));
  tile[t] = a[t];
  ASM("mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%0], 4;" ::"r"(
      mapped));
  ASM("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(
      mapped));
  while (!DONE("try_wait.parity.acquire.cluster.shared::cta.b64 %%p, [%1], 0;",
               "r"(bar)))
    ;
  out[t] = tile[63 - t];
  if (t == 0)
    ASM("mbarrier.arrive.expect_tx.relaxed.cluster.shared::cluster.b64 _, "
        "[%0], 16;" ::"r"(mapped));
  else
    ASM("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0], 1;" ::"r"(
        mapped));
  if (t == 63)
    ASM("mbarrier.complete_tx.relaxed.cluster.shared::cta.b64 [%0], 16;" ::"r"(
        bar));
  wait(bar, 1);
  out[64 + t] = tile[t ^ 1];
}

// Relaxed arrivals and waits, ordered by fences.
KERNEL fences(const u32 *a, u32 *out) {
  __shared__ u64 barrier;
  __shared__ u32 tile[64];
  u32 t = threadIdx.x, bar = AT(&barrier);
  if (t == 0)
    init(bar, 64);
  __syncthreads();
  tile[t] = a[t];
  ASM("fence.acq_rel.cta;" ::);
  ASM("mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [%0];" ::"r"(bar));
  while (!DONE("test_wait.parity.relaxed.cta.shared::cta.b64 %%p, [%1], 0;",
               "r"(bar)))
    ;
  ASM("fence.acq_rel.cta;" ::);
  out[t] = tile[t ^ 33];
}

// One lane of those that are there is elected, and all learn which.
KERNEL elected(u32 *out) {
  u32 t = threadIdx.x, leader, chosen;
  ASM("{\n\t.reg .pred %%p;\n\telect.sync %0|%%p, 0xffffffff;\n\t"
      "selp.u32 %1, 1, 0, %%p;\n\t}" : "=r"(leader),
      "=r"(chosen) :);
  u32 who = __ballot_sync(0xffffffff, chosen);
  out[t] = who == 1u << leader;
  if (t % 32 >= 12) {
    ASM("{\n\t.reg .pred %%p;\n\telect.sync _|%%p, 0xfffff000;\n\t"
        "selp.u32 %0, 1, 0, %%p;\n\t}" : "=r"(chosen) :);
    who = __ballot_sync(0xfffff000, chosen);
    out[64 + t] = __popc(who) == 1 && who >> 12;
  }
}

// Blocks do not share barriers.
KERNEL many_blocks(const u32 *a, u32 *out) {
  __shared__ u64 barrier;
  __shared__ u32 tile[64];
  u32 t = threadIdx.x, i = blockIdx.x * 64 + t, bar = AT(&barrier);
  if (t == 0)
    init(bar, 64);
  __syncthreads();
  for (u32 k = 0; k <= blockIdx.x; ++k) {
    tile[t] = a[i] + k;
    arrive(bar);
    wait(bar, k & 1);
    u32 x = tile[63 - t];
    __syncthreads();
    out[i] = x;
  }
}
