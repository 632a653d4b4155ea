
/* e^a for a <= 0: 2^n times a polynomial of degree 6. */
static inline float exponential(float a)
{
    float n, r, y;
    pun p;
    int32_t whole;
    if (a < -87.0f) {
        return 0.0f;
    }
    n = a * 1.44269504f - 0.5f;
    whole = (int32_t)n;
    r = a - (float)whole * 0.693145752f - (float)whole * 1.42860677e-6f;
    y = 1.0f + r * (1.0f + r * (0.5f + r * (0.166666667f + r * (0.0416666667f
        + r * (0.00833333333f + r * 0.00138888889f)))));
    p.bits = (uint32_t)(whole + 127) << 23;
    return y * p.value;
}
