
/* Arithmetic: nothing of a C library is used. */

typedef union {
    float value;
    uint32_t bits;
} pun;

static inline float greater(float a, float b) { return a > b ? a : b; }
static inline float lesser(float a, float b) { return a < b ? a : b; }
static inline float magnitude(float a) { return a < 0.0f ? -a : a; }
static inline float cut(float a, float most) { return lesser(greater(a, -most), most); }

/* Newton's method from an estimate by the exponent. */
static inline float root(float a)
{
    pun p;
    if (!(a > 0.0f)) {
        return 0.0f;
    }
    p.value = a;
    p.bits = (p.bits >> 1) + 0x1fbd1df5u;
    p.value = 0.5f * (p.value + a / p.value);
    p.value = 0.5f * (p.value + a / p.value);
    p.value = 0.5f * (p.value + a / p.value);
    return p.value;
}
