/* Groups split over threads: a pool of workers that is started when it is first needed.
 *
 * Workers are threads of CPython's portable API that never touch a Python object. An idle worker spins for some
 * microseconds, then sleeps on a lock. A job is a group split into chunks; the calling thread and the workers that arrive
 * in time take them one after the other, so nobody waits for a worker while all processors are busy elsewhere. The pool
 * runs one job at a time. A group that finds it busy is run by its own thread alone, in the same chunks, so that its sums
 * are rounded alike.
 */
#ifndef AD_WORKERS_H
#define AD_WORKERS_H
#include <Python.h>
#include <stdlib.h>
#include "loops.h"

#if defined(_MSC_VER)
#include <intrin.h>
typedef volatile long ad_flag;
#define AD_EXCHANGE(FLAG, VALUE) _InterlockedExchange(FLAG, VALUE)
#define AD_REPLACE(FLAG, OLD, VALUE) (_InterlockedCompareExchange(FLAG, VALUE, OLD) == (OLD))
#define AD_ADD(FLAG, VALUE) _InterlockedExchangeAdd(FLAG, VALUE)
#define AD_READ(FLAG) _InterlockedOr(FLAG, 0)
#define AD_PAUSE() YieldProcessor()
#define AD_YIELD() SwitchToThread()
#else
#include <sched.h>
typedef long ad_flag;
#define AD_EXCHANGE(FLAG, VALUE) __atomic_exchange_n(FLAG, VALUE, __ATOMIC_SEQ_CST)
#define AD_ADD(FLAG, VALUE) __atomic_fetch_add(FLAG, VALUE, __ATOMIC_SEQ_CST)
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

enum { AD_MAX_WORKERS = 63, AD_SPIN = 1000, AD_CHUNKS = 4 /* for each thread */ };
enum { AD_IDLE, AD_SIGNALLED, AD_ASLEEP };

typedef struct {
    char *at;
    size_t size;
} ad_memory;

typedef struct {
    ad_flag state;
    PyThread_type_lock wake;
    ad_memory memory;
} ad_worker;

/* `remaining` is the number of chunks not yet taken. Once it is zero or less, the job is closed to workers that arrive
 * late. `active` is the number of workers that look at the job. Invariant: no other field changes while the job is open
 * or a worker is active. */
static struct {
    ad_flag busy, remaining, active;
    const ad_step *step;
    double **bases;
    int n_bases, n_chunks;
    size_t scratch;
    ptrdiff_t chunk_size;
    ad_total *totals; /* of each chunk */
    double *spill;    /* of each chunk */
    ad_memory memory;
} ad_job;

static ad_worker ad_workers[AD_MAX_WORKERS];
static ad_flag ad_n_workers = 0;

/* Return at least `size` bytes that begin on a cache line, or NULL. */
static char *ad_reserve(ad_memory *memory, size_t size)
{
    if (size + 64 > memory->size) {
        free(memory->at);
        memory->at = (char *)malloc(size + 64);
        memory->size = memory->at ? size + 64 : 0;
    }
    return memory->at ? (char *)(((uintptr_t)memory->at + 63) / 64 * 64) : NULL;
}

static ad_chunk ad_chunk_of(int k, double **bases)
{
    const ad_step *step = ad_job.step;
    const ptrdiff_t start = k * ad_job.chunk_size, end = start + ad_job.chunk_size;
    ad_chunk chunk = {step, bases, ad_job.totals + k * step->n_sums, ad_job.spill + k * step->spill_size,
                      start < step->n ? start : step->n, end < step->n ? end : step->n};
    return chunk;
}

/* Run chunks as long as any remain. */
static void ad_run_chunks(double **bases)
{
    for (long remaining; (remaining = AD_ADD(&ad_job.remaining, -1)) > 0;) {
        const ad_chunk chunk = ad_chunk_of(ad_job.n_chunks - (int)remaining, bases);
        ad_run_chunk(&chunk);
    }
}

/* Run chunks in a worker, with scratch blocks of its own. */
static void ad_worker_run(ad_worker *worker)
{
    const size_t pointers = (ad_job.n_bases * sizeof(double *) + 63) / 64 * 64;
    double **bases = (double **)ad_reserve(&worker->memory, pointers + ad_job.scratch * sizeof(double));
    if (!bases) return;
    memcpy(bases, ad_job.bases, ad_job.n_bases * sizeof(double *));
    bases[AD_SCRATCH] = (double *)((char *)bases + pointers);
    ad_run_chunks(bases);
}

static void ad_worker_main(void *argument)
{
    ad_worker *worker = (ad_worker *)argument;
    for (;;) {
        for (int i = 0; i < AD_SPIN && AD_READ(&worker->state) != AD_SIGNALLED; i++) AD_PAUSE();
        if (AD_REPLACE(&worker->state, AD_IDLE, AD_ASLEEP)) PyThread_acquire_lock(worker->wake, WAIT_LOCK);
        AD_EXCHANGE(&worker->state, AD_IDLE);
        AD_ADD(&ad_job.active, 1);
        if (AD_READ(&ad_job.remaining) > 0) ad_worker_run(worker);
        AD_ADD(&ad_job.active, -1);
    }
}

/* Start workers until there are n, or no more can be started. The caller holds the GIL. */
static void ad_spawn_workers(int n)
{
    for (long k = AD_READ(&ad_n_workers); k < n && k < AD_MAX_WORKERS; k++) {
        ad_worker *worker = &ad_workers[k];
        memset(worker, 0, sizeof *worker);
        worker->wake = PyThread_allocate_lock();
        if (!worker->wake) return;
        PyThread_acquire_lock(worker->wake, WAIT_LOCK);
        if (PyThread_start_new_thread(ad_worker_main, worker) == PYTHREAD_INVALID_THREAD_ID) {
            PyThread_release_lock(worker->wake);
            PyThread_free_lock(worker->wake);
            return;
        }
        AD_ADD(&ad_n_workers, 1); /* from here on another thread's job may wake it */
    }
}

/* Start over in the child of a fork: it has none of the threads, and a job that was running at the fork, and its memory,
 * may be in any state. */
static void ad_reset_pool(void)
{
    ad_n_workers = 0;
    memset(&ad_job, 0, sizeof ad_job);
}

/* Number of elements of a chunk, for n threads. */
static ptrdiff_t ad_chunk_size(const ad_step *step, int n_threads)
{
    const ptrdiff_t share = step->n / (AD_CHUNKS * n_threads), least = share > step->block ? share : step->block;
    return (least + step->align - 1) / step->align * step->align;
}

/* Describe a job for n threads; false if there is no memory for it. */
static int ad_open_job(const ad_step *step, double **bases, int n_threads, int n_bases, size_t scratch)
{
    ad_job.chunk_size = ad_chunk_size(step, n_threads);
    ad_job.n_chunks = (int)((step->n + ad_job.chunk_size - 1) / ad_job.chunk_size);
    ad_job.step = step;
    ad_job.bases = bases;
    ad_job.n_bases = n_bases;
    ad_job.scratch = scratch;
    ad_job.totals = (ad_total *)ad_reserve(
        &ad_job.memory, ad_job.n_chunks * (step->n_sums * sizeof(ad_total) + step->spill_size * sizeof(double)));
    ad_job.spill = (double *)(ad_job.totals + ad_job.n_chunks * step->n_sums);
    return ad_job.totals != NULL;
}

/* Add a chunk's totals and its spill buffer. Chunks are reduced in order, so that results do not depend on timing. */
static void ad_reduce_chunk(const ad_chunk *chunk, ad_total *totals)
{
    for (int k = 0; k < chunk->step->n_sums; k++) {
        ad_add_to_total(&totals[k], chunk->totals[k].sum);
        totals[k].error += chunk->totals[k].error;
    }
    if (chunk->start) ad_add_spill(chunk);
}

/* Run a group by this thread and up to n_threads - 1 workers; false if the pool is busy. */
static int ad_parallel_for(
    const ad_step *step, double **bases, ad_total *totals, int n_threads, int n_bases, size_t scratch)
{
    if (AD_EXCHANGE(&ad_job.busy, 1)) return 0;
    while (AD_READ(&ad_job.active)) AD_YIELD(); /* a late worker that is about to leave */
    if (!ad_open_job(step, bases, n_threads, n_bases, scratch)) {
        AD_EXCHANGE(&ad_job.busy, 0);
        return 0;
    }
    AD_EXCHANGE(&ad_job.remaining, ad_job.n_chunks);
    for (long k = 0, n = AD_READ(&ad_n_workers); k < n_threads - 1 && k < n; k++)
        if (AD_EXCHANGE(&ad_workers[k].state, AD_SIGNALLED) == AD_ASLEEP) PyThread_release_lock(ad_workers[k].wake);
    ad_run_chunks(bases);
    for (int i = 0; AD_READ(&ad_job.active); i++) {
        if (i < AD_SPIN) AD_PAUSE();
        else AD_YIELD();
    }
    for (int i = 0; i < ad_job.n_chunks; i++) {
        const ad_chunk chunk = ad_chunk_of(i, ad_job.bases);
        ad_reduce_chunk(&chunk, totals);
    }
    AD_EXCHANGE(&ad_job.busy, 0);
    return 1;
}

/* Run a group by this thread, in the chunks of n threads. Behind `totals` are those of one chunk, then its spill. */
static void ad_run_serial(const ad_step *step, double **bases, ad_total *totals, int n_threads)
{
    const ptrdiff_t size = n_threads > 1 ? ad_chunk_size(step, n_threads) : step->n;
    ad_total *own = totals + step->n_sums;
    for (ptrdiff_t start = 0; start < step->n; start += size) {
        const ptrdiff_t end = size < step->n - start ? start + size : step->n;
        const ad_chunk chunk = {step, bases, own, (double *)(own + step->n_sums), start, end};
        ad_run_chunk(&chunk);
        ad_reduce_chunk(&chunk, totals);
    }
}

/* Run one step of a plan, by up to n threads. */
static void ad_run_step(const ad_step *step, double **bases, ad_total *totals, int n, int n_bases, size_t scratch)
{
    for (int k = 0; k < step->n_zeros; k++)
        memset(bases[step->zeros[k].base] + step->zeros[k].offset, 0, step->zeros[k].n * sizeof(double));
    if (step->code) {
        ad_run_scalars(step->code, bases, step->loops);
        return;
    }
    if (step->product) {
        ad_run_product(step->product, bases);
        return;
    }
    for (int k = 0; k < step->n_sums; k++) totals[k].sum = totals[k].error = 0;
    if (!step->is_parallel) n = 1;
    if (n == 1 || !ad_parallel_for(step, bases, totals, n, n_bases, scratch)) ad_run_serial(step, bases, totals, n);
    for (int k = 0; k < step->n_sums; k++)
        bases[step->sums[k].base][step->sums[k].offset] = ad_value_of_total(&totals[k]);
}
#endif
