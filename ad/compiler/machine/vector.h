/* Kernels over a block of float64, as `_loops.h` includes them: once for each instruction set.
 *
 * AD_ISA(name) gives a function its name in this instruction set. An operand is contiguous or one
 * number; bit k of a kernel's place in its row of the table says that operand k is one number.
 * `out` may be an operand itself, element for element.
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
/* A strip of a LOOK op is computed by LOOKED, which is right as a rule; the lanes add up what DOUBT says of the elements,
 * and where that is not zero the strip is computed again as the op is defined. Therefore `out` must not be an operand.
 * A product that is finite needs no comparison with zero (only the sign of a zero may be another); one that is not
 * gives NaN when it is multiplied by zero. Sines of numbers that are far from zero are left to the C library. */
#define AD_LOOK(NAME, ARITY, DOUBT, LOOKED)                                                     \
    static int AD_ISA(NAME##_looks)(ptrdiff_t n, double *__restrict out, const double *pa,      \
                                    const double *pb, const double *pc)                         \
    {                                                                                           \
        double lanes[16] = {0};                                                                 \
        ptrdiff_t i = 0;                                                                        \
        for (; i + 16 <= n; i += 16)                                                            \
            for (int k = 0; k < 16; k++) {                                                      \
                const double a = pa[i + k], b = pb[ARITY > 1 ? i + k : 0];                      \
                const double c = pc[ARITY > 2 ? i + k : 0], product = a * b;                    \
                (void)c; (void)product;                                                         \
                lanes[k] += DOUBT;                                                              \
                out[i + k] = LOOKED;                                                            \
            }                                                                                   \
        for (; i < n; i++) {                                                                    \
            const double a = pa[i], b = pb[ARITY > 1 ? i : 0], c = pc[ARITY > 2 ? i : 0];       \
            const double product = a * b;                                                       \
            (void)c; (void)product;                                                             \
            lanes[0] += DOUBT;                                                                  \
            out[i] = LOOKED;                                                                    \
        }                                                                                       \
        for (int k = 1; k < 16; k++) lanes[0] += lanes[k];                                      \
        return lanes[0] != 0;                                                                   \
    }                                                                                           \
    static void AD_ISA(NAME##_look)(ptrdiff_t n, double *out, const double *pa,                 \
                                    const double *pb, const double *pc)                         \
    {                                                                                           \
        enum { STRIP = 256 };                                                                   \
        if (n < 16) {                                                                           \
            AD_ISA(NAME##_0)(n, out, pa, pb, pc);                                               \
            return;                                                                             \
        }                                                                                       \
        for (ptrdiff_t i = 0; i < n; i += STRIP) {                                              \
            const ptrdiff_t m = n - i < STRIP ? n - i : STRIP;                                  \
            const double *b = pb + (ARITY > 1 ? i : 0), *c = pc + (ARITY > 2 ? i : 0);          \
            if (AD_ISA(NAME##_looks)(m, out + i, pa + i, b, c))                                 \
                AD_ISA(NAME##_0)(m, out + i, pa + i, b, c);                                     \
        }                                                                                       \
    }
#define AD_LOOK1(NAME, VALUE, LOOKED, DOUBT) AD_VECTOR1(NAME, VALUE) AD_LOOK(NAME, 1, DOUBT, LOOKED)
#define AD_LOOK2(NAME, VALUE, LOOKED) AD_VECTOR2(NAME, VALUE) AD_LOOK(NAME, 2, product * 0, LOOKED)
#define AD_LOOK3(NAME, VALUE, LOOKED) AD_VECTOR3(NAME, VALUE) AD_LOOK(NAME, 3, product * 0, LOOKED)
AD_SIMPLE(AD_VECTOR1, AD_VECTOR2, AD_VECTOR3, AD_LOOK1, AD_LOOK2, AD_LOOK3)
#undef AD_BODY
#undef AD_VECTOR1
#undef AD_VECTOR2
#undef AD_VECTOR3
#undef AD_LOOK
#undef AD_LOOK1
#undef AD_LOOK2
#undef AD_LOOK3
#undef AD_LOOK2
#undef AD_LOOK3

#define AD_ROW1(NAME, VALUE) {AD_ISA(NAME##_0), AD_ISA(NAME##_1)},
#define AD_REST2(NAME) AD_ISA(NAME##_1), AD_ISA(NAME##_2), AD_ISA(NAME##_3)
#define AD_REST3(NAME) AD_REST2(NAME), AD_ISA(NAME##_4), AD_ISA(NAME##_5), AD_ISA(NAME##_6), AD_ISA(NAME##_7)
#define AD_ROW2(NAME, VALUE) {AD_ISA(NAME##_0), AD_REST2(NAME)},
#define AD_ROW3(NAME, VALUE) {AD_ISA(NAME##_0), AD_REST3(NAME)},
#define AD_LOOKED1(NAME, VALUE, LOOKED, DOUBT) {AD_ISA(NAME##_look), AD_ISA(NAME##_1)},
#define AD_LOOKED2(NAME, VALUE, LOOKED) {AD_ISA(NAME##_look), AD_REST2(NAME)},
#define AD_LOOKED3(NAME, VALUE, LOOKED) {AD_ISA(NAME##_look), AD_REST3(NAME)},
static const ad_kernel AD_ISA(kernels)[][8] = {
    AD_SIMPLE(AD_ROW1, AD_ROW2, AD_ROW3, AD_LOOKED1, AD_LOOKED2, AD_LOOKED3)};
#undef AD_ROW1
#undef AD_ROW2
#undef AD_ROW3
#undef AD_REST2
#undef AD_REST3
#undef AD_LOOKED1
#undef AD_LOOKED2
#undef AD_LOOKED3

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

/* out = a b for small matrices, b by rows without gaps: the rows of b, added up. */
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

/* The same, of rows of a and columns of b: quickest where both are without gaps. */
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
