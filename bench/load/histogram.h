/* Latencies in a fixed amount of memory: 64 steps per power of two, so a percentile is exact to within 1.6 %. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <string.h>

enum { STEP_BITS = 6, STEPS = 1 << STEP_BITS, POWERS = 36 };

struct histogram {
    uint64_t count;
    uint64_t max_us;
    uint64_t bucket[POWERS * STEPS];
};

static inline void histogram_clear(struct histogram *h) { memset(h, 0, sizeof *h); }

static inline unsigned histogram_bucket(uint64_t us) {
    if (us < STEPS) return (unsigned)us;
    unsigned shift = 63u - (unsigned)__builtin_clzll(us) - STEP_BITS;
    unsigned index = (shift + 1) * STEPS + (unsigned)(us >> shift) - STEPS;
    return index < POWERS * STEPS ? index : POWERS * STEPS - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t us) {
    h->count++;
    if (us > h->max_us) h->max_us = us;
    h->bucket[histogram_bucket(us)]++;
}

/* What `share` (0 to 1) of all stay at or below, in milliseconds: the upper end of the bucket; 0 when there are none. */
static inline double histogram_percentile_ms(const struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)(share * (double)h->count), seen = 0;
    for (unsigned index = 0; index < POWERS * STEPS; index++) {
        seen += h->bucket[index];
        if (seen == 0 || seen < wanted) continue;
        unsigned shift = index < STEPS ? 0 : index / STEPS - 1;
        uint64_t step = index < STEPS ? index : index % STEPS + STEPS;
        uint64_t top = ((step + 1) << shift) - 1;
        return (double)(top < h->max_us ? top : h->max_us) / 1e3;
    }
    return 0;
}

#endif
