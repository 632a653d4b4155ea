
/* Natural logarithm of a > 0, by the series of atanh. */
static float logarithm(float a)
{
    pun p;
    float s, t;
    int32_t exponent;
    p.value = a;
    exponent = (int32_t)(p.bits >> 23) - 127;
    p.bits = (p.bits & 0x007fffffu) | 0x3f800000u;
    if (p.value > 1.41421356f) {
        p.value *= 0.5f;
        exponent += 1;
    }
    s = (p.value - 1.0f) / (p.value + 1.0f);
    t = s * s;
    return (float)exponent * 0.693147181f
        + 2.0f * s * (1.0f + t * (0.333333333f + t * (0.2f + t * (0.142857143f + t * 0.111111111f))));
}
