/* Values and partial derivatives of the hot elementwise ops on float64, one line each.
 *
 * NATIVE1(name, y, dy/da) and NATIVE2(name, y, dy/da, dy/db) are written in the inputs a, b
 * and the output y. Each line gives a scalar value, scalar partials and one loop a partial,
 * `out = g * partial`, in which every operand is contiguous or one number (stride 0). The
 * product is `ad_scaled`, or, where the partial is itself a (co)tangent, `ad_scaled_dots`: no
 * NaN leaks from a branch that was not taken.
 * The declared rule of the op table is the authority; its tests hold these lines against it.
 */
#ifndef AD_NATIVE_H
#define AD_NATIVE_H
#include <math.h>
#include <string.h>
#include <stddef.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#else
#include <fenv.h>
#endif

/* What floating-point operations of this thread have met since the flags were cleared: an overflow, an underflow, a
 * division by zero, an invalid operand. Reading the register takes a cycle or two, fetestexcept several times that. */
#if defined(__SSE2__)
static inline int ad_float_flags(void) { return (int)(_mm_getcsr() & 0x1d); }
static inline void ad_clear_float_flags(void) { _mm_setcsr(_mm_getcsr() & ~0x3fu); }
#else
static inline int ad_float_flags(void)
{
    return fetestexcept(FE_OVERFLOW | FE_UNDERFLOW | FE_DIVBYZERO | FE_INVALID);
}
static inline void ad_clear_float_flags(void) { feclearexcept(FE_ALL_EXCEPT); }
#endif

/* `out` may be `g` itself, element for element: no iteration reads what another has written. */
#if defined(_MSC_VER)
#define AD_NO_CARRY __pragma(loop(ivdep))
#elif defined(__clang__)
#define AD_NO_CARRY _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define AD_NO_CARRY _Pragma("GCC ivdep")
#else
#define AD_NO_CARRY
#endif

typedef double (*ad_value)(double a, double b);
typedef double (*ad_partial)(double a, double b, double y);
/* Strides are 0 or 1, in elements; y is contiguous or unused. `out` may be `g`. */
typedef void (*ad_pullback)(ptrdiff_t n, const double *a, int sa, const double *b, int sb,
                            const double *y, const double *g, int sg, double *out);

/* As an inner loop of a ufunc: strides in bytes. */
typedef void (*ad_loop)(char **args, const ptrdiff_t *n, const ptrdiff_t *steps, void *data);

typedef struct {
    const char *name;
    ad_value value;
    ad_partial partial[2];
    ad_pullback pullback[2];
    ad_loop loop; /* in place of NumPy's, or NULL */
} ad_native;

/* (co)tangent * partial, where zero times infinity is zero, and a zero (co)tangent stays zero. */
static inline double ad_scaled(double dot, double partial)
{
    const double product = dot * partial;
    return ((dot == 0) | ((partial == 0) & (dot == dot))) ? 0 : product;
}

/* The product of two (co)tangents, such as that of a partial with the one that it scales: a zero of either stays zero. */
static inline double ad_scaled_dots(double a, double b)
{
    const double product = a * b;
    return ((a == 0) | (b == 0)) ? 0 : product;
}

static double ad_pow(double a, double b)
{
    return b == 2 ? a * a : b == 0.5 ? sqrt(a) : pow(a, b);
}
static double ad_pow_da(double a, double b)
{
    return b == 2 ? 2 * a : ad_scaled(b, pow(a, b - 1));
}
static double ad_pow_db(double a, double y)
{
    return a > 0 ? y * log(a) : a == 0 ? 0 * y : (double)NAN; /* 0 * y: NaN where the power is infinite */
}
static double ad_sign(double a) { return a > 0 ? 1 : a < 0 ? -1 : a; }

#define AD_LOOP(A, B, Y, G, PRODUCT)                                                            \
    AD_NO_CARRY for (ptrdiff_t i = 0; i < n; i++) {                                             \
        const double a = (A), b = (B), y = (Y), g = (G);                                        \
        (void)a; (void)b; (void)y;                                                              \
        out[i] = PRODUCT;                                                                       \
    }
#define AD_LOOPS(Y, PRODUCT)                                                                    \
    if (sg) {                                                                                   \
        if (sa && sb) AD_LOOP(a_[i], b_[i], Y, g_[i], PRODUCT)                                  \
        else if (sa) AD_LOOP(a_[i], b0, Y, g_[i], PRODUCT)                                      \
        else if (sb) AD_LOOP(a0, b_[i], Y, g_[i], PRODUCT)                                      \
        else AD_LOOP(a0, b0, Y, g_[i], PRODUCT)                                                 \
    } else {                                                                                    \
        if (sa && sb) AD_LOOP(a_[i], b_[i], Y, g0, PRODUCT)                                     \
        else if (sa) AD_LOOP(a_[i], b0, Y, g0, PRODUCT)                                         \
        else if (sb) AD_LOOP(a0, b_[i], Y, g0, PRODUCT)                                         \
        else AD_LOOP(a0, b0, Y, g0, PRODUCT)                                                    \
    }
#define AD_PULLBACK(NAME, PRODUCT)                                                              \
    static void NAME(ptrdiff_t n, const double *a_, int sa, const double *b_, int sb,           \
                     const double *y_, const double *g_, int sg, double *out)                   \
    {                                                                                           \
        const double a0 = *a_, b0 = *b_, g0 = *g_;                                              \
        if (n == 0) return;                                                                     \
        if (y_) { AD_LOOPS(y_[i], PRODUCT) } else { AD_LOOPS(0, PRODUCT) }                      \
    }
#define AD_PARTIAL(NAME, PARTIAL)                                                               \
    static double NAME(double a, double b, double y)                                            \
    {                                                                                           \
        (void)a; (void)b; (void)y;                                                              \
        return PARTIAL;                                                                         \
    }
/* PULL_A and PULL_B are the products of g with the partials. */
#define NATIVE(NAME, VALUE, DA, PULL_A, DB, PULL_B)                                             \
    static double ad_##NAME##_f(double a, double b) { (void)b; return VALUE; }                  \
    AD_PARTIAL(ad_##NAME##_da, DA)                                                              \
    AD_PARTIAL(ad_##NAME##_db, DB)                                                              \
    AD_PULLBACK(ad_##NAME##_pa, PULL_A)                                                         \
    AD_PULLBACK(ad_##NAME##_pb, PULL_B)
#define NATIVE2(NAME, VALUE, DA, DB) NATIVE(NAME, VALUE, DA, ad_scaled(g, DA), DB, ad_scaled(g, DB))
#define NATIVE1(NAME, VALUE, DA) NATIVE2(NAME, VALUE, DA, 0)

#define AD_STRIDED_LOOP(NAME, VALUE)                                                            \
    static void NAME(char **args, const ptrdiff_t *n, const ptrdiff_t *steps, void *data)       \
    {                                                                                           \
        const ptrdiff_t sa = steps[0], sb = steps[1], sy = steps[2];                            \
        const char *pa = args[0], *pb = args[1];                                                \
        char *py = args[2];                                                                     \
        (void)data;                                                                             \
        if (sa == 8 && sb == 8 && sy == 8) {                                                    \
            AD_NO_CARRY for (ptrdiff_t i = 0; i < *n; i++) {                                    \
                const double a = ((const double *)pa)[i], b = ((const double *)pb)[i];          \
                (void)b;                                                                        \
                ((double *)py)[i] = VALUE;                                                      \
            }                                                                                   \
        } else if (sa == 8 && sb == 0 && sy == 8) {                                             \
            const double b = *(const double *)pb;                                               \
            (void)b;                                                                            \
            AD_NO_CARRY for (ptrdiff_t i = 0; i < *n; i++) {                                    \
                const double a = ((const double *)pa)[i];                                       \
                ((double *)py)[i] = VALUE;                                                      \
            }                                                                                   \
        } else {                                                                                \
            for (ptrdiff_t i = 0; i < *n; i++) {                                                \
                const double a = *(const double *)(pa + i * sa);                                \
                const double b = *(const double *)(pb + i * sb);                                \
                (void)b;                                                                        \
                *(double *)(py + i * sy) = VALUE;                                               \
            }                                                                                   \
        }                                                                                       \
    }

AD_STRIDED_LOOP(ad_scale_loop, ad_scaled(a, b))
AD_STRIDED_LOOP(ad_scale_dots_loop, ad_scaled_dots(a, b))
AD_STRIDED_LOOP(ad_square_loop, a * a)
AD_STRIDED_LOOP(ad_sqrt_loop, sqrt(a))

/* x**2 and x**0.5 as NumPy's operator has them; all else by NumPy's loop, which `data` holds. */
typedef struct {
    ad_loop run;
    void *data;
} ad_loop_ref;
static void ad_power_loop(char **args, const ptrdiff_t *n, const ptrdiff_t *steps, void *data)
{
    const ad_loop_ref *numpy = (const ad_loop_ref *)data;
    const double exponent = steps[1] == 0 ? *(const double *)args[1] : 0;
    if (exponent == 2) ad_square_loop(args, n, steps, NULL);
    else if (exponent == 0.5) ad_sqrt_loop(args, n, steps, NULL);
    else numpy->run(args, n, steps, numpy->data);
}

NATIVE(scale, ad_scaled(a, b), b, ad_scaled(g, b), a, ad_scaled_dots(g, a))
NATIVE(scale_dots, ad_scaled_dots(a, b), b, ad_scaled_dots(g, b), a, ad_scaled_dots(g, a))
NATIVE2(add, a + b, 1, 1)
NATIVE2(subtract, a - b, 1, -1)
NATIVE2(multiply, a * b, b, a)
NATIVE2(divide, a / b, 1 / b, -y / b)
NATIVE2(power, ad_pow(a, b), ad_pow_da(a, b), ad_pow_db(a, y))
NATIVE1(negative, -a, -1)
NATIVE1(square, a * a, 2 * a)

/* Squares are what most powers are, and pow() keeps a loop from being vectorised. */
static void ad_power_base(ptrdiff_t n, const double *a, int sa, const double *b, int sb,
                          const double *y, const double *g, int sg, double *out)
{
    (sb == 0 && *b == 2 ? ad_square_pa : ad_power_pa)(n, a, sa, b, sb, y, g, sg, out);
}
NATIVE1(sqrt, sqrt(a), 0.5 / y)
NATIVE1(exp, exp(a), y)
NATIVE1(log, log(a), 1 / a)
NATIVE1(sin, sin(a), cos(a))
NATIVE1(cos, cos(a), -sin(a))
NATIVE1(tanh, tanh(a), 1 - y * y)
NATIVE1(absolute, fabs(a), ad_sign(a))

#define AD_ENTRY_WITH(NAME, PULL_A, LOOP)                                                       \
    {#NAME, ad_##NAME##_f, {ad_##NAME##_da, ad_##NAME##_db}, {PULL_A, ad_##NAME##_pb}, LOOP}
#define AD_ENTRY(NAME) AD_ENTRY_WITH(NAME, ad_##NAME##_pa, NULL)
static const ad_native ad_natives[] = {
    AD_ENTRY_WITH(scale, ad_scale_pa, ad_scale_loop),
    AD_ENTRY_WITH(scale_dots, ad_scale_dots_pa, ad_scale_dots_loop),
    AD_ENTRY(add), AD_ENTRY(subtract), AD_ENTRY(multiply), AD_ENTRY(divide), AD_ENTRY_WITH(power, ad_power_base, ad_power_loop),
    AD_ENTRY(negative), AD_ENTRY(square), AD_ENTRY(sqrt), AD_ENTRY(exp), AD_ENTRY(log),
    AD_ENTRY(sin), AD_ENTRY(cos), AD_ENTRY(tanh), AD_ENTRY(absolute),
};

static inline const ad_native *ad_find_native(const char *name)
{
    for (size_t i = 0; i < sizeof ad_natives / sizeof *ad_natives; i++)
        if (strcmp(ad_natives[i].name, name) == 0) return &ad_natives[i];
    return NULL;
}
#endif
