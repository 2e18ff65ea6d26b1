/* An execution plan as C structs; `assembly.pyx` makes them from an `execution_plan.ExecutionPlan`. */
#ifndef AD_PLAN_H
#define AD_PLAN_H
#include <stddef.h>
#include <stdint.h>
#include "native.h"

/* The bases before those that are ndarrays; see `execution_plan.py`. */
enum { AD_REGISTERS, AD_BUFFERS, AD_SCRATCH, AD_ARRAYS };

typedef void (*ad_kernel)(ptrdiff_t n, double *out, const double *a, const double *b, const double *c);

/* r[out] = op(r[a], r[b], r[c]) for registers r, except that
 * - sin_cos writes the sine to r[out] and the cosine to r[b];
 * - load sets r[out] to element c of base a; store and accumulate write r[b] to it, or add r[b];
 * - loop calls the NumPy loop number c. */
typedef struct {
    uint32_t code, out, a, b, c;
} ad_scalar;

typedef struct {
    ad_loop run;
    void *data;
    int arity;
} ad_scalar_loop;

/* A matrix: element (i, j) is bases[base][offset + i * row + j * column]. */
typedef struct {
    int32_t base;
    ptrdiff_t offset, row, column;
} ad_matrix;

/* The product of an m x k and a k x n matrix. */
typedef struct {
    ptrdiff_t m, k, n;
    ad_matrix a, b, out;
} ad_product;

/* An operand: element i of the iteration is bases[base][offset + i * step]; step is 0 or 1. */
typedef struct {
    int32_t base, step;
    ptrdiff_t offset;
} ad_ref;

/* A strided array whose elements, in C order, are those of the iteration. */
typedef struct {
    int32_t base, nd;
    ptrdiff_t offset;
    ptrdiff_t *shape, *strides;
} ad_view;

typedef enum { AD_KERNEL, AD_NUMPY, AD_GATHER, AD_TAKE, AD_ADD_INTO, AD_ADD_AT, AD_ADD_SLICE, AD_SUM } ad_kind;

typedef struct {
    ad_kind kind;
    int arity;
    int sum;                     /* AD_SUM: the index of its total */
    ptrdiff_t halo, spill_start; /* AD_ADD_SLICE: see ad_add_slice */
    ad_kernel run;
    ad_loop loop;
    void *data;
    ad_ref out, input[3];
    ad_view view;
    const int32_t *indices; /* AD_TAKE, AD_ADD_AT: elements of the view, relative to its first */
} ad_vector;

/* Elements offset, ..., offset + n - 1 of a base. */
typedef struct {
    int32_t base;
    ptrdiff_t offset, n;
} ad_span;

/* One step: scalar code, a matrix product, or a group of loops over n elements. All null for an opaque call. */
typedef struct {
    int n_zeros, n_ops, n_sums;
    ptrdiff_t spill_size; /* elements of a chunk's spill buffer: the halos of all loops */
    int is_parallel;
    ptrdiff_t align;      /* chunks begin at multiples of it */
    double work;          /* estimated cost, in units of one multiply */
    ad_span *zeros;
    ad_scalar *code;
    ad_scalar_loop *loops;
    ad_product *product;
    ptrdiff_t n, block;
    ad_vector *ops;
    ad_span *sums;
} ad_step;

/* A compensated sum (A. Neumaier, 1974): the rounding errors are summed separately. */
typedef struct {
    double sum, error;
} ad_total;
#endif
