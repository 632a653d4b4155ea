
/* Layers. A weight is an eight-bit code times its unit's scale, exactly as in
 * the release. With STUDENT_INT8 a layer's inputs become eight-bit codes too, of one scale,
 * and products are summed as integers. */
#ifdef STUDENT_INT8
static float encode(const float *values, int count, int8_t *codes)
{
    float most = 0.0f, inverse;
    int i;
    for (i = 0; i < count; i++) {
        most = greater(most, magnitude(values[i]));
    }
    inverse = most > 0.0f ? 127.0f / most : 0.0f;
    for (i = 0; i < count; i++) {
        const float code = values[i] * inverse;
        codes[i] = (int8_t)(code < 0.0f ? code - 0.5f : code + 0.5f);
    }
    return most / 127.0f;
}
typedef int8_t operand;
typedef int32_t sum_of;
#else
typedef float operand;
typedef float sum_of;
#endif

static void dense(const float *inputs, int width, int units, const int8_t *weight,
    const float *scale, const float *bias, int rectified, float *outputs, int8_t *codes)
{
    const operand *from;
    float step = 1.0f;
    int i, unit;
#ifdef STUDENT_INT8
    step = encode(inputs, width, codes);
    from = codes;
#else
    (void)codes;
    from = inputs;
#endif
    for (unit = 0; unit < units; unit++, weight += width) {
        sum_of sum = 0;
        float value;
        for (i = 0; i < width; i++) {
            sum += (sum_of)weight[i] * from[i];
        }
        value = bias[unit] + scale[unit] * step * (float)sum;
        outputs[unit] = rectified ? greater(value, 0.0f) : value;
    }
}
