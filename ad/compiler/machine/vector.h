/* Kernels over a block of float64. `loops.h` includes this file once for each instruction set.
 *
 * AD_ISA(name) is the name of a function for this instruction set. An operand is contiguous or a scalar. In the table of
 * kernels a row is an op, and bit k of the column is set if operand k is a scalar. `out` may be one of the operands,
 * unless the kernel is speculative.
 */
#define AD_BODY(NAME, MASK, A, B, C, VALUE)                                                     \
    static void AD_ISA(NAME##_##MASK)(ptrdiff_t n, double *out, const double *pa,               \
                                      const double *pb, const double *pc)                       \
    {                                                                                           \
        const double a0 = *pa, b0 = *pb, c0 = *pc;                                              \
        (void)a0; (void)b0; (void)c0;                                                           \
        AD_NO_CARRY for (ptrdiff_t i = 0; i < n; i++) {                                         \
            const double a = A, b = B, c = C;                                                   \
            (void)b; (void)c;                                                                   \
            out[i] = VALUE;                                                                     \
        }                                                                                       \
    }
#define AD_VECTOR1(NAME, VALUE)                                                                 \
    AD_BODY(NAME, 0, pa[i], b0, c0, VALUE)                                                      \
    AD_BODY(NAME, 1, a0, b0, c0, VALUE)
#define AD_VECTOR2(NAME, VALUE)                                                                 \
    AD_BODY(NAME, 0, pa[i], pb[i], c0, VALUE)                                                   \
    AD_BODY(NAME, 1, a0, pb[i], c0, VALUE)                                                      \
    AD_BODY(NAME, 2, pa[i], b0, c0, VALUE)                                                      \
    AD_BODY(NAME, 3, a0, b0, c0, VALUE)
#define AD_VECTOR3(NAME, VALUE)                                                                 \
    AD_BODY(NAME, 0, pa[i], pb[i], pc[i], VALUE)                                                \
    AD_BODY(NAME, 1, a0, pb[i], pc[i], VALUE)                                                   \
    AD_BODY(NAME, 2, pa[i], b0, pc[i], VALUE)                                                   \
    AD_BODY(NAME, 3, a0, b0, pc[i], VALUE)                                                      \
    AD_BODY(NAME, 4, pa[i], pb[i], c0, VALUE)                                                   \
    AD_BODY(NAME, 5, a0, pb[i], c0, VALUE)                                                      \
    AD_BODY(NAME, 6, pa[i], b0, c0, VALUE)                                                      \
    AD_BODY(NAME, 7, a0, b0, c0, VALUE)
/* Speculative kernels: compute a tile by the fast formula, accumulate a fallback flag in `lanes`, and recompute the tile
 * by the exact formula if the flag is not zero. The output must not alias an input.
 *
 * - scale and the like: a finite product is the exact value but for the sign of a zero, so the loop compares nothing
 *   with zero. Infinity and NaN times 0 are NaN, which sets the flag. This serves every gradient, whose chain rule
 *   multiplies cotangents by partials.
 * - sin and cos: beyond the range-reduction limit the C library computes them. This serves programs with sines of whole
 *   arrays: ours are vectorised, the library's are called for one number at a time. */
#define AD_SPECULATIVE(NAME, ARITY, FALLBACK, FAST)                                             \
    static int AD_ISA(NAME##_tile)(ptrdiff_t n, double *__restrict out, const double *pa,       \
                                    const double *pb, const double *pc)                         \
    {                                                                                           \
        double lanes[16] = {0};                                                                 \
        ptrdiff_t i = 0;                                                                        \
        for (; i + 16 <= n; i += 16)                                                            \
            for (int k = 0; k < 16; k++) {                                                      \
                const double a = pa[i + k], b = pb[ARITY > 1 ? i + k : 0];                      \
                const double c = pc[ARITY > 2 ? i + k : 0], product = a * b;                    \
                (void)c; (void)product;                                                         \
                lanes[k] += FALLBACK;                                                           \
                out[i + k] = FAST;                                                              \
            }                                                                                   \
        for (; i < n; i++) {                                                                    \
            const double a = pa[i], b = pb[ARITY > 1 ? i : 0], c = pc[ARITY > 2 ? i : 0];       \
            const double product = a * b;                                                       \
            (void)c; (void)product;                                                             \
            lanes[0] += FALLBACK;                                                               \
            out[i] = FAST;                                                                      \
        }                                                                                       \
        for (int k = 1; k < 16; k++) lanes[0] += lanes[k];                                      \
        return lanes[0] != 0;                                                                   \
    }                                                                                           \
    static void AD_ISA(NAME##_speculative)(ptrdiff_t n, double *out, const double *pa,          \
                                    const double *pb, const double *pc)                         \
    {                                                                                           \
        enum { TILE = 256 };                                                                    \
        if (n < 16) {                                                                           \
            AD_ISA(NAME##_0)(n, out, pa, pb, pc);                                               \
            return;                                                                             \
        }                                                                                       \
        for (ptrdiff_t i = 0; i < n; i += TILE) {                                               \
            const ptrdiff_t m = n - i < TILE ? n - i : TILE;                                    \
            const double *b = pb + (ARITY > 1 ? i : 0), *c = pc + (ARITY > 2 ? i : 0);          \
            if (AD_ISA(NAME##_tile)(m, out + i, pa + i, b, c))                                  \
                AD_ISA(NAME##_0)(m, out + i, pa + i, b, c);                                     \
        }                                                                                       \
    }
#define AD_SPECULATIVE1(NAME, VALUE, FAST, FALLBACK) AD_VECTOR1(NAME, VALUE) AD_SPECULATIVE(NAME, 1, FALLBACK, FAST)
#define AD_SPECULATIVE2(NAME, VALUE, FAST) AD_VECTOR2(NAME, VALUE) AD_SPECULATIVE(NAME, 2, product * 0, FAST)
#define AD_SPECULATIVE3(NAME, VALUE, FAST) AD_VECTOR3(NAME, VALUE) AD_SPECULATIVE(NAME, 3, product * 0, FAST)
AD_SIMPLE(AD_VECTOR1, AD_VECTOR2, AD_VECTOR3, AD_SPECULATIVE1, AD_SPECULATIVE2, AD_SPECULATIVE3)
#undef AD_BODY
#undef AD_VECTOR1
#undef AD_VECTOR2
#undef AD_VECTOR3
#undef AD_SPECULATIVE
#undef AD_SPECULATIVE1
#undef AD_SPECULATIVE2
#undef AD_SPECULATIVE3

#define AD_ROW1(NAME, VALUE) {AD_ISA(NAME##_0), AD_ISA(NAME##_1)},
#define AD_REST2(NAME) AD_ISA(NAME##_1), AD_ISA(NAME##_2), AD_ISA(NAME##_3)
#define AD_REST3(NAME) AD_REST2(NAME), AD_ISA(NAME##_4), AD_ISA(NAME##_5), AD_ISA(NAME##_6), AD_ISA(NAME##_7)
#define AD_ROW2(NAME, VALUE) {AD_ISA(NAME##_0), AD_REST2(NAME)},
#define AD_ROW3(NAME, VALUE) {AD_ISA(NAME##_0), AD_REST3(NAME)},
#define AD_SPECULATIVE_ROW1(NAME, VALUE, FAST, FALLBACK) {AD_ISA(NAME##_speculative), AD_ISA(NAME##_1)},
#define AD_SPECULATIVE_ROW2(NAME, VALUE, FAST) {AD_ISA(NAME##_speculative), AD_REST2(NAME)},
#define AD_SPECULATIVE_ROW3(NAME, VALUE, FAST) {AD_ISA(NAME##_speculative), AD_REST3(NAME)},
static const ad_kernel AD_ISA(kernels)[][8] = {
    AD_SIMPLE(AD_ROW1, AD_ROW2, AD_ROW3, AD_SPECULATIVE_ROW1, AD_SPECULATIVE_ROW2, AD_SPECULATIVE_ROW3)};
#undef AD_ROW1
#undef AD_ROW2
#undef AD_ROW3
#undef AD_REST2
#undef AD_REST3
#undef AD_SPECULATIVE_ROW1
#undef AD_SPECULATIVE_ROW2
#undef AD_SPECULATIVE_ROW3

static double AD_ISA(sum)(ptrdiff_t n, const double *a)
{
    double lanes[16] = {0};
    ptrdiff_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; k++) lanes[k] += a[i + k];
    for (int k = 0; i < n; i++, k++) lanes[k] += a[i];
    for (int width = 8; width; width /= 2)
        for (int k = 0; k < width; k++) lanes[k] += lanes[k + width];
    return lanes[0];
}

/* out = a b for small matrices, as sums of rows of b, which are contiguous. */
static void AD_ISA(add_rows)(const ad_product *p, double *__restrict out, const double *a, const double *b,
                             ptrdiff_t row)
{
    for (ptrdiff_t i = 0; i < p->m; i++, out += p->n, a += p->a.row) {
        for (ptrdiff_t j = 0; j < p->n; j++) out[j] = 0;
        for (ptrdiff_t l = 0; l < p->k; l++) {
            const double x = a[l * p->a.column], *y = b + l * row;
            for (ptrdiff_t j = 0; j < p->n; j++) out[j] += x * y[j];
        }
    }
}

/* out = a b, as dot products of rows of a and columns of b; vectorised where both are contiguous. */
static void AD_ISA(dot_columns)(const ad_product *p, double *__restrict out, const double *a, const double *b)
{
    const int dense = p->a.column == 1 && p->b.row == 1;
    for (ptrdiff_t i = 0; i < p->m; i++, a += p->a.row)
        for (ptrdiff_t j = 0; j < p->n; j++) {
            const double *column = b + j * p->b.column;
            double lanes[8] = {0};
            ptrdiff_t l = 0;
            for (; dense && l + 8 <= p->k; l += 8)
                for (int k = 0; k < 8; k++) lanes[k] += a[l + k] * column[l + k];
            for (; l < p->k; l++) lanes[0] += a[l * p->a.column] * column[l * p->b.row];
            for (int width = 4; width; width /= 2)
                for (int k = 0; k < width; k++) lanes[k] += lanes[k + width];
            out[i * p->n + j] = lanes[0];
        }
}

static void AD_ISA(multiply_matrices)(const ad_product *p, double *out, const double *a, const double *b)
{
    double copy[AD_SMALL_MATRIX];
    if (p->b.column == 1 && p->n > 1) {
        AD_ISA(add_rows)(p, out, a, b, p->b.row);
    } else if (p->n == 1 || p->k * p->n > AD_SMALL_MATRIX) {
        AD_ISA(dot_columns)(p, out, a, b);
    } else {
        for (ptrdiff_t l = 0; l < p->k; l++)
            for (ptrdiff_t j = 0; j < p->n; j++) copy[l * p->n + j] = b[l * p->b.row + j * p->b.column];
        AD_ISA(add_rows)(p, out, a, copy, p->n);
    }
}
