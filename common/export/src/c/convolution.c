
/* Convolution, ReLU and max-pool at once; images are channels last. */
typedef struct {
    int height, width, channels, tall, wide, above, left, units, pool_y, pool_x, out_y, out_x;
} plan;

static void convolve(const plan *p, const float *inputs, const int8_t *weight, const float *scale,
    const float *bias, float *outputs, int8_t *codes)
{
    const int window = p->tall * p->wide * p->channels;
    const operand *image;
    float step = 1.0f;
    int y, x, unit, py, px, v, u, c;
#ifdef STUDENT_INT8
    step = encode(inputs, p->height * p->width * p->channels, codes);
    image = codes;
#else
    (void)codes;
    image = inputs;
#endif
    for (y = 0; y < p->out_y; y++) {
        for (x = 0; x < p->out_x; x++) {
            for (unit = 0; unit < p->units; unit++) {
                float most = 0.0f;
                for (py = 0; py < p->pool_y; py++) {
                    for (px = 0; px < p->pool_x; px++) {
                        sum_of sum = 0;
                        for (v = 0; v < p->tall; v++) {
                            const int from_y = y * p->pool_y + py + v - p->above;
                            if (from_y < 0 || from_y >= p->height) {
                                continue;
                            }
                            for (u = 0; u < p->wide; u++) {
                                const int from_x = x * p->pool_x + px + u - p->left;
                                const int8_t *w = weight + unit * window + (v * p->wide + u) * p->channels;
                                const operand *from = image + (from_y * p->width + from_x) * p->channels;
                                if (from_x < 0 || from_x >= p->width) {
                                    continue;
                                }
                                for (c = 0; c < p->channels; c++) {
                                    sum += (sum_of)w[c] * from[c];
                                }
                            }
                        }
                        most = greater(most, bias[unit] + scale[unit] * step * (float)sum);
                    }
                }
                *outputs++ = most;
            }
        }
    }
}
