
/* Pooled answers of fixed filters; see the notes on features above. */
static void features_of(const float *input, float *features)
{
    int row, column, channel, filter, y, x, v, u;
    float noise[CHANNELS];
    for (channel = 0; channel < CHANNELS; channel++) {
        float largest = 0.0f;
        for (x = channel; x < HEIGHT * WIDTH * CHANNELS; x += CHANNELS) {
            const float value = cut(input[x], VALUE_MAX);
            largest = greater(largest, greater(value, -value));
        }
        noise[channel] = largest * NOISE;
    }
    for (row = 0; row < ROWS; row++) {
        for (column = 0; column < COLUMNS; column++) {
            for (channel = 0; channel < CHANNELS; channel++) {
                const int top = row_edges[row], bottom = row_edges[row + 1];
                const int left = column_edges[column], right = column_edges[column + 1];
                const float share = 1.0f / (float)((bottom - top) * (right - left));
                for (filter = 0; filter < FILTERS; filter++) {
                    float positive = 0.0f, negative = 0.0f;
                    for (y = top; y < bottom; y++) {
                        for (x = left; x < right; x++) {
                            const float *weight = filters + filter * TALL * WIDE;
                            float answer = 0.0f;
                            for (v = 0; v < TALL; v++) {
                                const int from_y = y + v - MARGIN_Y;
                                if (from_y < 0 || from_y >= HEIGHT) {
                                    continue;
                                }
                                for (u = 0; u < WIDE; u++) {
                                    const int from_x = x + u - MARGIN_X;
                                    if (from_x >= 0 && from_x < WIDTH) {
                                        answer += weight[v * WIDE + u]
                                            * cut(input[(from_y * WIDTH + from_x) * CHANNELS + channel],
                                                VALUE_MAX);
                                    }
                                }
                            }
                            positive += greater(answer - noise[channel], 0.0f) * share;
                            negative += greater(-answer - noise[channel], 0.0f) * share;
                        }
                    }
                    features[filter] = root(positive);
                    features[FILTERS + filter] = root(negative);
                }
                features += 2 * FILTERS;
#ifdef MEANS
                {
                    const int from = mean_edges[column], to = mean_edges[column + 1];
                    const float part = 1.0f / (float)(to - from);
                    float mean = 0.0f;
                    for (x = from; x < to; x++) {
                        mean += cut(input[x * CHANNELS + channel], VALUE_MAX) * part;
                    }
                    *features++ = mean;
                }
#endif
            }
        }
    }
}
