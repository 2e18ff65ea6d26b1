/* Groups split over threads: a pool of workers that is made when first needed.
 *
 * Workers are bare threads of CPython's portable API, which never touch a Python object. One waits for its next
 * chunk spinning, for some microseconds, and then on a lock. The pool serves one group at a time; a group that finds it
 * taken is run by its own thread alone.
 */
#ifndef AD_WORKERS_H
#define AD_WORKERS_H
#include <Python.h>
#include <stdlib.h>
#include "_loops.h"

#if defined(_MSC_VER)
#include <intrin.h>
typedef volatile long ad_flag;
#define AD_EXCHANGE(FLAG, VALUE) _InterlockedExchange(FLAG, VALUE)
#define AD_REPLACE(FLAG, OLD, VALUE) (_InterlockedCompareExchange(FLAG, VALUE, OLD) == (OLD))
#define AD_READ(FLAG) _InterlockedOr(FLAG, 0)
#define AD_PAUSE() YieldProcessor()
#define AD_YIELD() SwitchToThread()
#else
#include <sched.h>
typedef long ad_flag;
#define AD_EXCHANGE(FLAG, VALUE) __atomic_exchange_n(FLAG, VALUE, __ATOMIC_SEQ_CST)
static inline int ad_replace(ad_flag *flag, long old, long value)
{
    return __atomic_compare_exchange_n(flag, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
#define AD_REPLACE(FLAG, OLD, VALUE) ad_replace(FLAG, OLD, VALUE)
#define AD_READ(FLAG) __atomic_load_n(FLAG, __ATOMIC_SEQ_CST)
#if defined(__x86_64__) || defined(__i386__)
#define AD_PAUSE() __builtin_ia32_pause()
#else
#define AD_PAUSE() ((void)0)
#endif
#define AD_YIELD() sched_yield()
#endif

enum { AD_MAX_WORKERS = 63, AD_SPIN = 1000 };
enum { AD_IDLE, AD_BUSY, AD_ASLEEP };

typedef struct {
    ad_flag state;
    PyThread_type_lock wake;
    ad_chunk chunk;
    char *memory;
    size_t size;
} ad_worker;

static ad_worker ad_workers[AD_MAX_WORKERS];
static int ad_n_workers = 0;
static ad_flag ad_pool_taken = 0;

static void ad_work(void *argument)
{
    ad_worker *worker = (ad_worker *)argument;
    for (;;) {
        for (int i = 0; i < AD_SPIN && AD_READ(&worker->state) != AD_BUSY; i++) AD_PAUSE();
        if (AD_REPLACE(&worker->state, AD_IDLE, AD_ASLEEP)) PyThread_acquire_lock(worker->wake, WAIT_LOCK);
        ad_run_chunk(&worker->chunk);
        AD_EXCHANGE(&worker->state, AD_IDLE);
    }
}

/* Have at least n workers, or as many as can be had. With the GIL. */
static void ad_hire(int n)
{
    for (; ad_n_workers < n && ad_n_workers < AD_MAX_WORKERS; ad_n_workers++) {
        ad_worker *worker = &ad_workers[ad_n_workers];
        memset(worker, 0, sizeof *worker);
        worker->wake = PyThread_allocate_lock();
        if (!worker->wake) return;
        PyThread_acquire_lock(worker->wake, WAIT_LOCK);
        if (PyThread_start_new_thread(ad_work, worker) == PYTHREAD_INVALID_THREAD_ID) return;
    }
}

/* In the child of a fork, which has none of the threads. */
static void ad_forget_workers(void)
{
    ad_n_workers = 0;
    ad_pool_taken = 0;
}

/* Room for a chunk's own bases, totals, seams and blocks. */
static int ad_equip(ad_worker *worker, const ad_step *step, double **bases, int n_bases, size_t scratch)
{
    const size_t pointers = (n_bases * sizeof(double *) + 63) / 64 * 64;
    const size_t totals = (step->n_sums * sizeof(ad_total) + 63) / 64 * 64;
    const size_t seams = (step->seam * sizeof(double) + 63) / 64 * 64;
    const size_t size = pointers + totals + seams + scratch * sizeof(double) + 64;
    char *at;
    if (size > worker->size) {
        free(worker->memory);
        worker->memory = (char *)malloc(size);
        worker->size = worker->memory ? size : 0;
    }
    if (!worker->memory) return 0;
    at = (char *)(((uintptr_t)worker->memory + 63) / 64 * 64);
    worker->chunk.step = step;
    worker->chunk.bases = (double **)at;
    worker->chunk.totals = (ad_total *)(at + pointers);
    worker->chunk.seams = (double *)(at + pointers + totals);
    memcpy(worker->chunk.bases, bases, n_bases * sizeof(double *));
    worker->chunk.bases[AD_SCRATCH] = (double *)(at + pointers + totals + seams);
    return 1;
}

static void ad_start(ad_worker *worker, ptrdiff_t start, ptrdiff_t end)
{
    worker->chunk.start = start;
    worker->chunk.end = end;
    if (AD_EXCHANGE(&worker->state, AD_BUSY) == AD_ASLEEP) PyThread_release_lock(worker->wake);
}

static void ad_finish(ad_worker *worker, ad_chunk *whole)
{
    for (int i = 0; AD_READ(&worker->state) == AD_BUSY; i++) {
        if (i < AD_SPIN) AD_PAUSE();
        else AD_YIELD();
    }
    for (int k = 0; k < whole->step->n_sums; k++) {
        ad_add_to_total(&whole->totals[k], worker->chunk.totals[k].sum);
        whole->totals[k].error += worker->chunk.totals[k].error;
    }
    ad_add_seams(&worker->chunk);
}

/* A chunk of a group, by this thread and up to n - 1 workers. */
static void ad_share(ad_chunk *whole, int n, int n_bases, size_t scratch)
{
    const ptrdiff_t end = whole->end;
    ptrdiff_t part;
    int used = 0;
    if (n > ad_n_workers + 1) n = ad_n_workers + 1;
    if (n < 2 || AD_EXCHANGE(&ad_pool_taken, 1)) {
        ad_run_chunk(whole);
        return;
    }
    part = (end / n + 63) / 64 * 64;
    while (used < n - 1 && ad_equip(&ad_workers[used], whole->step, whole->bases, n_bases, scratch)) used++;
    for (int k = used - 1; k >= 0; k--) {
        const ptrdiff_t start = (k + 1) * part < whole->end ? (k + 1) * part : whole->end;
        ad_start(&ad_workers[k], start, whole->end);
        whole->end = start;
    }
    ad_run_chunk(whole);
    for (int k = 0; k < used; k++) ad_finish(&ad_workers[k], whole);
    whole->end = end;
    AD_EXCHANGE(&ad_pool_taken, 0);
}

/* One step of a program, by up to n threads. */
static void ad_run_step(const ad_step *step, double **bases, ad_total *totals, int n, int n_bases, size_t scratch)
{
    ad_chunk whole = {step, bases, totals, NULL, 0, step->n};
    for (int k = 0; k < step->n_zeros; k++)
        memset(bases[step->zeros[k].base] + step->zeros[k].offset, 0, step->zeros[k].n * sizeof(double));
    if (step->code) {
        ad_run_scalars(step->code, bases, step->loops);
        return;
    }
    if (step->is_parallel && n > 1) ad_share(&whole, n, n_bases, scratch);
    else ad_run_chunk(&whole);
    for (int k = 0; k < step->n_sums; k++)
        bases[step->sums[k].base][step->sums[k].offset] = ad_value_of_total(&totals[k]);
}
#endif
