/* Groups split over threads: a pool of workers that is made when first needed.
 *
 * Workers are bare threads of CPython's portable API, which never touch a Python object. One waits for a job spinning,
 * for some microseconds, and then on a lock. A job is a group in chunks, which its own thread and those workers that
 * come in time take one after the other: where all processors are busy elsewhere, no one waits for a worker. The pool
 * has one job at a time; a group that finds it taken is run by its own thread alone, in the same chunks: its sums are
 * rounded alike.
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
enum { AD_IDLE, AD_CALLED, AD_ASLEEP };

typedef struct {
    char *at;
    size_t size;
} ad_memory;

typedef struct {
    ad_flag state;
    PyThread_type_lock wake;
    ad_memory memory;
} ad_worker;

/* `left` counts the chunks not yet taken down to zero, and beyond: then the job is closed to those who come late.
 * Nothing else of it changes while it is open, or a worker is `inside`. */
static struct {
    ad_flag taken, left, inside;
    const ad_step *step;
    double **bases;
    int n_bases, n_chunks;
    size_t scratch;
    ptrdiff_t part;
    ad_total *totals;   /* of each chunk */
    double *seams;      /* likewise */
    ad_memory memory;
} ad_job;

static ad_worker ad_workers[AD_MAX_WORKERS];
static ad_flag ad_n_workers = 0;

/* At least `size` bytes, on a line of the cache; NULL if there are none. */
static char *ad_enough(ad_memory *memory, size_t size)
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
    const ptrdiff_t start = k * ad_job.part, end = start + ad_job.part;
    ad_chunk chunk = {step, bases, ad_job.totals + k * step->n_sums, ad_job.seams + k * step->seam,
                      start < step->n ? start : step->n, end < step->n ? end : step->n};
    return chunk;
}

/* Take chunks as long as there are any. */
static void ad_take_chunks(double **bases)
{
    for (long left; (left = AD_ADD(&ad_job.left, -1)) > 0;) {
        const ad_chunk chunk = ad_chunk_of(ad_job.n_chunks - (int)left, bases);
        ad_run_chunk(&chunk);
    }
}

/* The same, with blocks of the worker's own. */
static void ad_help(ad_worker *worker)
{
    const size_t pointers = (ad_job.n_bases * sizeof(double *) + 63) / 64 * 64;
    double **bases = (double **)ad_enough(&worker->memory, pointers + ad_job.scratch * sizeof(double));
    if (!bases) return;
    memcpy(bases, ad_job.bases, ad_job.n_bases * sizeof(double *));
    bases[AD_SCRATCH] = (double *)((char *)bases + pointers);
    ad_take_chunks(bases);
}

static void ad_work(void *argument)
{
    ad_worker *worker = (ad_worker *)argument;
    for (;;) {
        for (int i = 0; i < AD_SPIN && AD_READ(&worker->state) != AD_CALLED; i++) AD_PAUSE();
        if (AD_REPLACE(&worker->state, AD_IDLE, AD_ASLEEP)) PyThread_acquire_lock(worker->wake, WAIT_LOCK);
        AD_EXCHANGE(&worker->state, AD_IDLE);
        AD_ADD(&ad_job.inside, 1);
        if (AD_READ(&ad_job.left) > 0) ad_help(worker);
        AD_ADD(&ad_job.inside, -1);
    }
}

/* Have at least n workers, or as many as can be had. With the GIL. */
static void ad_hire(int n)
{
    for (long k = AD_READ(&ad_n_workers); k < n && k < AD_MAX_WORKERS; k++) {
        ad_worker *worker = &ad_workers[k];
        memset(worker, 0, sizeof *worker);
        worker->wake = PyThread_allocate_lock();
        if (!worker->wake) return;
        PyThread_acquire_lock(worker->wake, WAIT_LOCK);
        if (PyThread_start_new_thread(ad_work, worker) == PYTHREAD_INVALID_THREAD_ID) {
            PyThread_release_lock(worker->wake);
            PyThread_free_lock(worker->wake);
            return;
        }
        AD_ADD(&ad_n_workers, 1); /* now another thread's job may call it */
    }
}

/* In the child of a fork, which has none of the threads: a job that one had, and its memory, may be in pieces. */
static void ad_forget_workers(void)
{
    ad_n_workers = 0;
    memset(&ad_job, 0, sizeof ad_job);
}

/* Elements of a chunk, for n threads. */
static ptrdiff_t ad_part(const ad_step *step, int n_threads)
{
    const ptrdiff_t part = step->n / (AD_CHUNKS * n_threads), least = part > step->block ? part : step->block;
    return (least + step->align - 1) / step->align * step->align;
}

/* Describe a job for n threads; whether there is memory for it. */
static int ad_open_job(const ad_step *step, double **bases, int n_threads, int n_bases, size_t scratch)
{
    ad_job.part = ad_part(step, n_threads);
    ad_job.n_chunks = (int)((step->n + ad_job.part - 1) / ad_job.part);
    ad_job.step = step;
    ad_job.bases = bases;
    ad_job.n_bases = n_bases;
    ad_job.scratch = scratch;
    ad_job.totals = (ad_total *)ad_enough(
        &ad_job.memory, ad_job.n_chunks * (step->n_sums * sizeof(ad_total) + step->seam * sizeof(double)));
    ad_job.seams = (double *)(ad_job.totals + ad_job.n_chunks * step->n_sums);
    return ad_job.totals != NULL;
}

/* Gather what a chunk has summed, and what it has put aside: in the order of the chunks, those before being done. */
static void ad_gather_chunk(const ad_chunk *chunk, ad_total *totals)
{
    for (int k = 0; k < chunk->step->n_sums; k++) {
        ad_add_to_total(&totals[k], chunk->totals[k].sum);
        totals[k].error += chunk->totals[k].error;
    }
    if (chunk->start) ad_add_seams(chunk);
}

/* A group, by this thread and up to n_threads - 1 workers; whether the pool was free for it. */
static int ad_share(const ad_step *step, double **bases, ad_total *totals, int n_threads, int n_bases, size_t scratch)
{
    if (AD_EXCHANGE(&ad_job.taken, 1)) return 0;
    while (AD_READ(&ad_job.inside)) AD_YIELD(); /* one who came late, and is leaving */
    if (!ad_open_job(step, bases, n_threads, n_bases, scratch)) {
        AD_EXCHANGE(&ad_job.taken, 0);
        return 0;
    }
    AD_EXCHANGE(&ad_job.left, ad_job.n_chunks);
    for (long k = 0, hired = AD_READ(&ad_n_workers); k < n_threads - 1 && k < hired; k++)
        if (AD_EXCHANGE(&ad_workers[k].state, AD_CALLED) == AD_ASLEEP) PyThread_release_lock(ad_workers[k].wake);
    ad_take_chunks(bases);
    for (int i = 0; AD_READ(&ad_job.inside); i++) {
        if (i < AD_SPIN) AD_PAUSE();
        else AD_YIELD();
    }
    for (int i = 0; i < ad_job.n_chunks; i++) {
        const ad_chunk chunk = ad_chunk_of(i, ad_job.bases);
        ad_gather_chunk(&chunk, totals);
    }
    AD_EXCHANGE(&ad_job.taken, 0);
    return 1;
}

/* A group by this thread, in chunks as for n threads. Behind the totals is room for those of a chunk, and its seams. */
static void ad_run_alone(const ad_step *step, double **bases, ad_total *totals, int n_threads)
{
    const ptrdiff_t part = n_threads > 1 ? ad_part(step, n_threads) : step->n;
    ad_total *own = totals + step->n_sums;
    for (ptrdiff_t start = 0; start < step->n; start += part) {
        const ptrdiff_t end = part < step->n - start ? start + part : step->n;
        const ad_chunk chunk = {step, bases, own, (double *)(own + step->n_sums), start, end};
        ad_run_chunk(&chunk);
        ad_gather_chunk(&chunk, totals);
    }
}

/* One step of a program, by up to n threads. */
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
    if (n == 1 || !ad_share(step, bases, totals, n, n_bases, scratch)) ad_run_alone(step, bases, totals, n);
    for (int k = 0; k < step->n_sums; k++)
        bases[step->sums[k].base][step->sums[k].offset] = ad_value_of_total(&totals[k]);
}
#endif
