/* The inner loops of the machine: scalar code, and groups of elementwise loops that run block by block.
 *
 * AD_SIMPLE lists the ops whose value is one expression of the operands a, b, c. The kernels (`vector.h`), the cases of
 * the scalar interpreter and the names that an execution plan uses are all generated from this list. Every other
 * elementwise op runs through NumPy's inner loops.
 */
#ifndef AD_LOOPS_H
#define AD_LOOPS_H
#include <math.h>
#include <string.h>
#include "plan.h"

static inline double ad_maximum(double a, double b) { return (a >= b) | (a != a) ? a : b; }
static inline double ad_minimum(double a, double b) { return (a <= b) | (a != a) ? a : b; }

/* Range-reduction limit of ad_sincos: n times each part of pi / 2 is exact for |n| < 2^20 quarter turns. */
#define AD_SINCOS_LIMIT 1e6

/* sin(x) if `shift` is 0, cos(x) if it is 1, to 0.9 units in the last place. There are no branches, so the loop over a
 * block is vectorised. The range reduction subtracts n pi / 2 in three parts (W. J. Cody, W. Waite, Software Manual for
 * the Elementary Functions, 1980) and keeps their rounding errors; the polynomials interpolate at Chebyshev nodes. */
static inline double ad_sincos(double x, int shift)
{
    const double magic = 0x1.8p52, shifted = x * 0x1.45f306dc9c883p-1 + magic, n = shifted - magic;
    const double r0 = x - n * 0x1.921fb544p0;
    const double w1 = n * 0x1.0b4611a6p-34, r1 = r0 - w1, d1 = r1 - r0, e1 = (r0 - (r1 - d1)) - (w1 + d1);
    const double w2 = n * 0x1.3198a2ep-69, r2 = r1 - w2, d2 = r2 - r1, e2 = (r1 - (r2 - d2)) - (w2 + d2);
    const double e = n * 0x1.b839a252049c1p-104 - (e1 + e2), r = r2 - e, low = (r2 - r) - e;
    const double z = r * r, cube = r * z, rest = 1 - 0.5 * z;
    const double sine = 0x1.1111111110b23p-7 + z * (-0x1.a01a019e620b8p-13 + z * (0x1.71de376b624a0p-19
        + z * (-0x1.ae5fde7e11113p-26 + z * 0x1.5dfb3991b8c5ep-33)));
    const double cosine = 0x1.5555555555555p-5 + z * (-0x1.6c16c16c1691fp-10 + z * (0x1.a01a019f3dd6bp-16
        + z * (-0x1.27e4fa023aac5p-22 + z * (0x1.1eeb529bea17bp-29 + z * -0x1.906dbbad55ddbp-37))));
    const double s = r - ((z * (0.5 * low - cube * sine) - low) + cube * 0x1.5555555555555p-3);
    const double c = rest + (((1 - rest) - 0.5 * z) + (z * (z * cosine) - r * low));
    uint64_t quarters;
    memcpy(&quarters, &shifted, sizeof quarters);
    quarters += (uint64_t)shift;
    return quarters & 2 ? -(quarters & 1 ? c : s) : quarters & 1 ? c : s;
}

/* Booleans are 1.0 or 0.0 here. A SPECULATIVE op gives its exact value, its fast value and, unless that is
 * `product * 0`, the condition on which the exact one is needed: see AD_SPECULATIVE in `vector.h`. */
#define AD_SIMPLE(OP1, OP2, OP3, SPECULATIVE1, SPECULATIVE2, SPECULATIVE3)                      \
    OP1(copy, a) OP1(negative, -a) OP1(square, a * a) OP1(cube, a * a * a)                      \
    OP1(sqrt, sqrt(a)) OP1(absolute, fabs(a)) OP1(reciprocal, 1 / a) OP1(logical_not, a == 0)   \
    SPECULATIVE1(sin, sin(a), ad_sincos(a, 0), !(fabs(a) <= AD_SINCOS_LIMIT))                   \
    SPECULATIVE1(cos, cos(a), ad_sincos(a, 1), !(fabs(a) <= AD_SINCOS_LIMIT))                   \
    OP2(add, a + b) OP2(subtract, a - b) OP2(multiply, a * b) OP2(divide, a / b)                \
    SPECULATIVE2(scale, ad_scaled(a, b), product)                                               \
    SPECULATIVE2(scale_dots, ad_scaled_dots(a, b), product)                                     \
    OP2(maximum, ad_maximum(a, b)) OP2(minimum, ad_minimum(a, b))                               \
    OP2(less, a < b) OP2(less_equal, a <= b) OP2(greater, a > b) OP2(greater_equal, a >= b)     \
    OP2(equal, a == b) OP2(not_equal, a != b)                                                   \
    OP2(logical_and, (a != 0) & (b != 0)) OP2(logical_or, (a != 0) | (b != 0))                  \
    OP3(where, a != 0 ? b : c)                                                                  \
    AD_PAIRS_OF(add, a + b, OP2, OP3) AD_PAIRS_OF(subtract, a - b, OP2, OP3)                    \
    AD_PAIRS_OF(multiply, a * b, OP2, OP3) AD_PAIRS_OF(divide, a / b, OP2, OP3)                 \
    AD_SPECULATIVE_PAIRS_OF(scale, ad_scaled(a, b), SPECULATIVE3)                               \
    AD_SPECULATIVE_PAIRS_OF(scale_dots, ad_scaled_dots(a, b), SPECULATIVE3)

/* Two arithmetic ops in one loop, which saves a store and a load: FIRST of a and b, then another op of that and c.
 * `subtract_from` and `divide_into` have c on the left. `scheduling.py` reads the pairs from the names. */
#define AD_PAIRS_OF(FIRST, VALUE, OP2, OP3)                                                     \
    OP3(FIRST##_then_add, (VALUE) + c) OP3(FIRST##_then_multiply, (VALUE) * c)                  \
    OP3(FIRST##_then_subtract, (VALUE) - c) OP3(FIRST##_then_subtract_from, c - (VALUE))        \
    OP3(FIRST##_then_divide, (VALUE) / c) OP3(FIRST##_then_divide_into, c / (VALUE))            \
    OP2(FIRST##_then_square, (VALUE) * (VALUE))
#define AD_SPECULATIVE_PAIRS_OF(FIRST, VALUE, SPECULATIVE3)                                     \
    SPECULATIVE3(FIRST##_then_add, VALUE + c, product + c)                                      \
    SPECULATIVE3(FIRST##_then_subtract, VALUE - c, product - c)                                 \
    SPECULATIVE3(FIRST##_then_subtract_from, c - VALUE, c - product)

#define AD_ARITY1(NAME, ...) 1,
#define AD_ARITY2(NAME, ...) 2,
#define AD_ARITY3(NAME, ...) 3,
static const int ad_kernel_arities[] = {
    AD_SIMPLE(AD_ARITY1, AD_ARITY2, AD_ARITY3, AD_ARITY1, AD_ARITY2, AD_ARITY3)};
#define AD_IS_EXACT(NAME, ...) 0,
#define AD_IS_SPECULATIVE(NAME, ...) 1,
static const int ad_kernel_is_speculative[] = {AD_SIMPLE(AD_IS_EXACT, AD_IS_EXACT, AD_IS_EXACT, AD_IS_SPECULATIVE, AD_IS_SPECULATIVE, AD_IS_SPECULATIVE)};
/* Cost of one element in a NumPy loop, or in a transcendental kernel of ours, in units of one multiply. */
enum { AD_LOOP_COST = 10 };
#define AD_ARITHMETIC(NAME, ...) 1,
#define AD_TRANSCENDENTAL(NAME, ...) AD_LOOP_COST,
static const int ad_kernel_costs[] = {AD_SIMPLE(AD_ARITHMETIC, AD_ARITHMETIC, AD_ARITHMETIC, AD_TRANSCENDENTAL, AD_ARITHMETIC, AD_ARITHMETIC)};
enum { AD_N_KERNELS = sizeof ad_kernel_arities / sizeof *ad_kernel_arities };

enum { AD_SMALL_MATRIX = 256 }; /* elements up to which a matrix is copied so that its rows are contiguous */

/* -- instruction sets ------------------------------------------------------------------------ */

#define AD_ISA(NAME) ad_base_##NAME
#include "vector.h"
#undef AD_ISA

#if (defined(__x86_64__) || defined(__i386__)) && defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define AD_ISA(NAME) ad_avx2_##NAME
#include "vector.h"
#undef AD_ISA
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl"))), apply_to = function)
#define AD_ISA(NAME) ad_avx512_##NAME
#include "vector.h"
#undef AD_ISA
#pragma clang attribute pop
#define AD_CHOOSE 1
#elif (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2")
#define AD_ISA(NAME) ad_avx2_##NAME
#include "vector.h"
#undef AD_ISA
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl")
#define AD_ISA(NAME) ad_avx512_##NAME
#include "vector.h"
#undef AD_ISA
#pragma GCC pop_options
#define AD_CHOOSE 1
#endif

static const ad_kernel (*ad_kernels)[8] = ad_base_kernels;
static double (*ad_sum)(ptrdiff_t n, const double *a) = ad_base_sum;
static void (*ad_multiply_matrices)(const ad_product *, double *, const double *, const double *) =
    ad_base_multiply_matrices;

static inline void ad_choose_kernels(void)
{
#ifdef AD_CHOOSE
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        ad_kernels = ad_avx512_kernels;
        ad_sum = ad_avx512_sum;
        ad_multiply_matrices = ad_avx512_multiply_matrices;
    } else if (__builtin_cpu_supports("avx2")) {
        ad_kernels = ad_avx2_kernels;
        ad_sum = ad_avx2_sum;
        ad_multiply_matrices = ad_avx2_multiply_matrices;
    }
#endif
}

static inline ad_kernel ad_kernel_of(int op, int scalars) { return ad_kernels[op][scalars]; }

/* -- scalar code ----------------------------------------------------------------------------- */

/* Scalar instructions besides the simple ops; their opcodes follow. */
#define AD_SCALAR_OPS(OP)                                                                       \
    OP(sin_cos) OP(exp) OP(log) OP(tanh) OP(power) OP(load) OP(store) OP(accumulate) OP(loop) OP(halt)
#define AD_NUMBER(NAME, ...) AD_CODE_##NAME,
enum ad_code {
    AD_SIMPLE(AD_NUMBER, AD_NUMBER, AD_NUMBER, AD_NUMBER, AD_NUMBER, AD_NUMBER) AD_SCALAR_OPS(AD_NUMBER) AD_CODES
};

#define AD_STRING(NAME, ...) #NAME,
static const char *const ad_code_names[] = {
    AD_SIMPLE(AD_STRING, AD_STRING, AD_STRING, AD_STRING, AD_STRING, AD_STRING) AD_SCALAR_OPS(AD_STRING)};

static inline void ad_run_loop(const ad_scalar_loop *loop, double *r, const ad_scalar *at)
{
    const ptrdiff_t n = 1, steps[4] = {0, 0, 0, 0};
    char *args[4] = {(char *)(r + at->a), (char *)(r + at->b)};
    args[loop->arity] = (char *)(r + at->out);
    loop->run(args, &n, steps, loop->data);
}

#if defined(__GNUC__) && !defined(AD_SWITCH)
#define AD_GOTO
#define AD_CASE(NAME) at_##NAME:
#define AD_NEXT at++; goto *targets[at->code]
#else
#define AD_CASE(NAME) case AD_CODE_##NAME:
#define AD_NEXT at++; continue
#endif
#define AD_SCALAR(NAME, VALUE, ...)                                                             \
    AD_CASE(NAME) { const double a = r[at->a], b = r[at->b], c = r[at->c];                      \
        (void)b; (void)c; r[at->out] = VALUE; } AD_NEXT;

static inline void ad_run_scalars(const ad_scalar *at, double **bases, const ad_scalar_loop *loops)
{
    double *r = bases[0];
#ifdef AD_GOTO
#define AD_LABEL(NAME, ...) &&at_##NAME,
    static const void *const targets[] = {
        AD_SIMPLE(AD_LABEL, AD_LABEL, AD_LABEL, AD_LABEL, AD_LABEL, AD_LABEL) AD_SCALAR_OPS(AD_LABEL)};
    goto *targets[at->code];
#else
    for (;;) switch (at->code) {
#endif
    AD_SIMPLE(AD_SCALAR, AD_SCALAR, AD_SCALAR, AD_SCALAR, AD_SCALAR, AD_SCALAR)
    AD_SCALAR(exp, exp(a))
    AD_SCALAR(log, log(a))
    AD_SCALAR(tanh, tanh(a))
    AD_SCALAR(power, ad_pow(a, b))
    AD_CASE(sin_cos) { const double a = r[at->a]; r[at->out] = sin(a); r[at->b] = cos(a); } AD_NEXT;
    AD_CASE(load) r[at->out] = bases[at->a][at->c]; AD_NEXT;
    AD_CASE(store) bases[at->a][at->c] = r[at->b]; AD_NEXT;
    AD_CASE(accumulate) bases[at->a][at->c] += r[at->b]; AD_NEXT;
    AD_CASE(loop) ad_run_loop(&loops[at->c], r, at); AD_NEXT;
    AD_CASE(halt) return;
#ifndef AD_GOTO
    }
#endif
}

enum { AD_MAX_AXES = 64 }; /* NPY_MAXDIMS of NumPy 2 */

/* -- groups ---------------------------------------------------------------------------------- */

static inline void ad_add_to_total(ad_total *total, double x)
{
    const double sum = total->sum + x;
    total->error += fabs(total->sum) >= fabs(x) ? (total->sum - sum) + x : (x - sum) + total->sum;
    total->sum = sum;
}
static inline double ad_value_of_total(const ad_total *total)
{
    return isfinite(total->sum) ? total->sum + total->error : total->sum;
}

static inline void ad_run_product(const ad_product *p, double **bases)
{
    ad_multiply_matrices(p, bases[p->out.base] + p->out.offset, bases[p->a.base] + p->a.offset,
                         bases[p->b.base] + p->b.offset);
}

static inline double *ad_at(double **bases, const ad_ref *ref, ptrdiff_t i)
{
    return bases[ref->base] + ref->offset + i * ref->step;
}

static void ad_run_numpy(const ad_vector *op, double **bases, ptrdiff_t i, ptrdiff_t n)
{
    char *args[4];
    ptrdiff_t steps[4];
    for (int k = 0; k < op->arity; k++) {
        args[k] = (char *)ad_at(bases, &op->input[k], i);
        steps[k] = 8 * (op->input[k].step || op->input[k].base == AD_SCRATCH);
    }
    args[op->arity] = (char *)ad_at(bases, &op->out, i);
    steps[op->arity] = 8;
    op->loop(args, &n, steps, op->data);
}

/* Visits `rows` rows of a view together with as many contiguous elements of a block. */
typedef void (*ad_visit)(ptrdiff_t rows, ptrdiff_t width, double *block, double *view, ptrdiff_t row, ptrdiff_t stride);

/* BODY for each row; where rows are short, with a width that is a compile-time constant. This serves arrays whose last
 * axis is short: points in the plane or in space, pairs, quaternions. The inner loop is unrolled, where a loop over 2 to
 * 4 elements would cost more than its body. */
#define AD_ROWS(BODY)                                                                           \
    for (; rows > 0; rows--, block += width, view += row) BODY
#define AD_BY_WIDTH(BODY)                                                                       \
    if (width == 2) { enum { width = 2 }; AD_ROWS(BODY) }                                       \
    else if (width == 3) { enum { width = 3 }; AD_ROWS(BODY) }                                  \
    else if (width == 4) { enum { width = 4 }; AD_ROWS(BODY) }                                  \
    else AD_ROWS(BODY)

static void ad_copy_rows(ptrdiff_t rows, ptrdiff_t width, double *block, double *view, ptrdiff_t row, ptrdiff_t stride)
{
    if (stride == 1 && width > 16) AD_ROWS(memcpy(block, view, width * sizeof(double));)
    else AD_BY_WIDTH({ AD_NO_CARRY for (ptrdiff_t k = 0; k < width; k++) block[k] = view[k * stride]; })
}

static void ad_add_rows(ptrdiff_t rows, ptrdiff_t width, double *block, double *view, ptrdiff_t row, ptrdiff_t stride)
{
    if (stride == 0 && width > 4) AD_ROWS(*view += ad_sum(width, block);)
    else if (stride == 0) AD_BY_WIDTH({
        double sum = *block;
        for (ptrdiff_t k = 1; k < width; k++) sum += block[k];
        *view += sum;
    })
    else AD_BY_WIDTH({ AD_NO_CARRY for (ptrdiff_t k = 0; k < width; k++) view[k * stride] += block[k]; })
}

/* Visit elements start, ..., start + n - 1 of a view and the elements of a block: first the rest of a row, then as many
 * whole rows at once as there are, then the beginning of a row. Whole rows at once serve arrays with a short last axis:
 * the Hessian of the energy of 20 particles in space takes 93 us instead of 330. */
static void ad_walk(const ad_view *view, double **bases, ptrdiff_t start, ptrdiff_t n, double *block, ad_visit visit)
{
    const int last = view->nd - 1;
    const ptrdiff_t width = view->shape[last], stride = view->strides[last];
    const ptrdiff_t row = last ? view->strides[last - 1] : 0;
    ptrdiff_t index[AD_MAX_AXES], rest = start / width, column = start % width;
    double *at = bases[view->base] + view->offset;
    for (int d = last - 1; d >= 0; d--) {
        index[d] = rest % view->shape[d];
        at += index[d] * view->strides[d];
        rest /= view->shape[d];
    }
    while (n > 0) {
        const ptrdiff_t left = last ? view->shape[last - 1] - index[last - 1] : 1;
        ptrdiff_t rows = column ? 0 : n / width < left ? n / width : left, size = rows * width;
        if (rows) {
            visit(rows, width, block, at, row, stride);
        } else {
            rows = 1;
            size = n < width - column ? n : width - column;
            visit(1, size, block, at + column * stride, row, stride);
        }
        block += size;
        n -= size;
        column = 0;
        for (int d = last - 1; d >= 0; d--, rows = 1) {
            at += rows * view->strides[d];
            index[d] += rows;
            if (index[d] < view->shape[d]) break;
            at -= index[d] * view->strides[d];
            index[d] = 0;
        }
    }
}

static void ad_take(ptrdiff_t n, double *__restrict out, const double *data, const int32_t *indices)
{
    for (ptrdiff_t k = 0; k < n; k++) out[k] = data[indices[k]];
}

static void ad_add_at(ptrdiff_t n, double *data, const double *in, const int32_t *indices)
{
    for (ptrdiff_t k = 0; k < n; k++) data[indices[k]] += in[k];
}

/* Elements start, ..., end - 1 of a group, which one thread runs. */
typedef struct {
    const ad_step *step;
    double **bases;
    ad_total *totals;
    double *spill;
    ptrdiff_t start, end;
} ad_chunk;

/* Add elements i + k, ..., i + n - 1 of a block to `out`: the kernel's last operand is its output. */
static void ad_accumulate(const ad_vector *op, double **bases, ptrdiff_t i, ptrdiff_t k, ptrdiff_t n, double *out)
{
    const double *operands[3] = {out, out, out};
    for (int j = 0; j < op->arity - 1; j++) {
        const ad_ref *ref = &op->input[j];
        operands[j] = ad_at(bases, ref, i) + (ref->step || ref->base == AD_SCRATCH ? k : 0);
    }
    op->run(n - k, out, operands[0], operands[1], operands[2]);
}

/* Add a value, or a product of two values, to a slice of an array: the transpose of slicing, as in stencils and finite
 * differences. Where slices of one array overlap, this chunk owns the elements from its start on in the slice with the
 * largest offset. The `halo` elements before them belong to the chunk before; what is added to those goes to the chunk's
 * spill buffer. */
static void ad_add_slice(const ad_vector *op, const ad_chunk *chunk, ptrdiff_t i, ptrdiff_t n)
{
    ptrdiff_t k = chunk->start ? chunk->start + op->halo - i : 0;
    k = k < 0 ? 0 : k > n ? n : k;
    if (k) {
        double *spill = chunk->spill + op->spill_start + i - chunk->start;
        memset(spill, 0, k * sizeof(double));
        ad_accumulate(op, chunk->bases, i, 0, k, spill);
    }
    if (k < n) ad_accumulate(op, chunk->bases, i, k, n, ad_at(chunk->bases, &op->out, i + k));
}

/* Add a chunk's spill buffer to the halo, after all chunks have run. */
static inline void ad_add_spill(const ad_chunk *chunk)
{
    const ad_vector *op = chunk->step->ops, *end = op + chunk->step->n_ops;
    for (; op < end; op++)
        for (ptrdiff_t k = 0; k < op->halo && chunk->start + k < chunk->end; k++)
            ad_at(chunk->bases, &op->out, chunk->start)[k] += chunk->spill[op->spill_start + k];
}

static inline void ad_run_op(const ad_vector *op, const ad_chunk *chunk, ptrdiff_t i, ptrdiff_t n)
{
    double **bases = chunk->bases;
    switch (op->kind) {
    case AD_KERNEL:
        op->run(n, ad_at(bases, &op->out, i), ad_at(bases, &op->input[0], i),
                ad_at(bases, &op->input[1], i), ad_at(bases, &op->input[2], i));
        break;
    case AD_NUMPY: ad_run_numpy(op, bases, i, n); break;
    case AD_GATHER: ad_walk(&op->view, bases, i, n, ad_at(bases, &op->out, i), ad_copy_rows); break;
    case AD_TAKE:
        ad_take(n, ad_at(bases, &op->out, i), bases[op->view.base] + op->view.offset, op->indices + i);
        break;
    case AD_ADD_AT:
        ad_add_at(n, bases[op->view.base] + op->view.offset, ad_at(bases, &op->input[0], i), op->indices + i);
        break;
    case AD_ADD_INTO: ad_walk(&op->view, bases, i, n, ad_at(bases, &op->input[0], i), ad_add_rows); break;
    case AD_ADD_SLICE: ad_add_slice(op, chunk, i, n); break;
    case AD_SUM: ad_add_to_total(&chunk->totals[op->sum], ad_sum(n, ad_at(bases, &op->input[0], i))); break;
    }
}

/* Whether a loop sums the part of a row that is in one block into one element. */
static inline int ad_sums_blocks(const ad_vector *op)
{
    return op->kind == AD_ADD_INTO && op->view.strides[op->view.nd - 1] == 0;
}

/* Number of iterations to peel so that the blocks after the first begin on a cache line of the first array that the
 * chunk reads. This serves groups of many blocks whose operands are inputs or outputs: NumPy aligns data to 16 bytes
 * only, and large arrays, which malloc maps, all begin 16 bytes after a line; then a vector load of 64 bytes would touch
 * two lines each time. Nothing is peeled where a block is summed: rounding would depend on the address. */
static inline ptrdiff_t ad_peeled(const ad_chunk *chunk)
{
    const ad_step *step = chunk->step;
    if (step->n_sums || chunk->end - chunk->start <= step->block) return 0;
    for (int k = 0; k < step->n_ops; k++)
        if (ad_sums_blocks(&step->ops[k])) return 0;
    for (int k = 0; k < step->n_ops; k++)
        for (int j = 0; j < step->ops[k].arity; j++)
            if (step->ops[k].input[j].step)
                return (uintptr_t)ad_at(chunk->bases, &step->ops[k].input[j], chunk->start) % 64 / sizeof(double);
    return 0;
}

static inline void ad_run_chunk(const ad_chunk *chunk)
{
    const ad_step *step = chunk->step;
    ptrdiff_t n = step->block - ad_peeled(chunk);
    for (int k = 0; k < step->n_sums; k++) chunk->totals[k].sum = chunk->totals[k].error = 0;
    for (ptrdiff_t i = chunk->start; i < chunk->end; i += n, n = step->block) {
        if (n > chunk->end - i) n = chunk->end - i;
        for (int k = 0; k < step->n_ops; k++) ad_run_op(&step->ops[k], chunk, i, n);
    }
}
#endif
