
/* In place, ascending (Shell 1959, with Ciura's gaps). */
static void sort(float *values, int count)
{
    static const int gaps[] = {1750, 701, 301, 132, 57, 23, 10, 4, 1};
    int at, i, j;
    for (at = 0; at < (int)(sizeof gaps / sizeof gaps[0]); at++) {
        const int gap = gaps[at];
        for (i = gap; i < count; i++) {
            const float value = values[i];
            for (j = i; j >= gap && values[j - gap] > value; j -= gap) {
                values[j] = values[j - gap];
            }
            values[j] = value;
        }
    }
}

static float quantile(const float *sorted, float share)
{
    const float position = share * (float)(STEPS - 1);
    const int index = (int)position;
    const int next = index + 1 < STEPS ? index + 1 : STEPS - 1;
    return sorted[index] + (position - (float)index) * (sorted[next] - sorted[index]);
}

/* Squared magnitudes of bins 1 to STEPS / 2 of the real signal in work, which
 * has room for two times STEPS values and loses them. */
#ifdef POWER_OF_TWO
static void spectrum(float *work, float *power)
{
    float *re = work, *im = work + STEPS;
    int i, j, k, half;
    for (i = 0; i < STEPS; i++) {
        im[i] = 0.0f;
    }
    for (i = 1, j = 0; i < STEPS; i++) {
        int bit = STEPS >> 1;
        for (; j & bit; bit >>= 1) {
            j ^= bit;
        }
        j |= bit;
        if (i < j) {
            const float swapped = re[i];
            re[i] = re[j];
            re[j] = swapped;
        }
    }
    for (half = 1; half < STEPS; half *= 2) {
        const int stride = STEPS / (2 * half);
        for (i = 0; i < STEPS; i += 2 * half) {
            for (k = 0; k < half; k++) {
                const float c = cosine[k * stride], s = -sine[k * stride];
                const int a = i + k, b = a + half;
                const float tr = re[b] * c - im[b] * s, ti = re[b] * s + im[b] * c;
                re[b] = re[a] - tr;
                im[b] = im[a] - ti;
                re[a] += tr;
                im[a] += ti;
            }
        }
    }
    for (k = 0; k < BINS; k++) {
        power[k] = re[k + 1] * re[k + 1] + im[k + 1] * im[k + 1];
    }
}
#else
static void spectrum(float *work, float *power)
{
    int step, bin;
    for (bin = 0; bin < BINS; bin++) {
        float re = 0.0f, im = 0.0f;
        int turn = 0;
        for (step = 0; step < STEPS; step++) {
            re += work[step] * cosine[turn];
            im += work[step] * sine[turn];
            turn += bin + 1;
            if (turn >= STEPS) {
                turn -= STEPS;
            }
        }
        power[bin] = re * re + im * im;
    }
}
#endif

/* Features of one channel, which is standardised. */
static float *channel_features(float *signal, float *work, float *features)
{
    float *power = work + 2 * STEPS;
    const float count = (float)STEPS;
    float mean = 0.0f, square = 0.0f, jump = 0.0f, deviation, cubes = 0.0f, fourths = 0.0f;
    float total = 0.0f, information = 0.0f;
    int step, at, crossings = 0;
    for (step = 0; step < STEPS; step++) {
        mean += signal[step];
    }
    mean /= count;
    {
        /* What rounding left over. */
        float left = 0.0f;
        for (step = 0; step < STEPS; step++) {
            left += signal[step] - mean;
        }
        mean += left / count;
    }
    for (step = 1; step < STEPS; step++) {
        jump += magnitude(signal[step] - signal[step - 1]);
    }
    jump /= count - 1.0f;
    for (step = 0; step < STEPS; step++) {
        signal[step] -= mean;
        square += signal[step] * signal[step];
        work[step] = signal[step];
    }
    deviation = root(square / count);
    for (step = 1; step < STEPS; step++) {
        crossings += signal[step - 1] * signal[step] < 0.0f;
    }
    sort(work, STEPS);
    features[0] = mean;
    features[1] = root(square / count + mean * mean);
    features[2] = logarithm(deviation + DEVIATION_FLOOR);
    features[3] = logarithm(quantile(work, 0.75f) - quantile(work, 0.25f) + FLOOR);
    features[4] = logarithm(jump + FLOOR);
    features[5] = (float)crossings / (count - 1.0f);
    for (at = 0; at < LAGS; at++) {
        float product = 0.0f;
        for (step = lags[at]; step < STEPS; step++) {
            product += signal[step - lags[at]] * signal[step];
        }
        features[9 + BANDS + at] = product / (square + FLOOR);
    }
    for (step = 0; step < STEPS; step++) {
        work[step] = signal[step] * taper[step];
        signal[step] /= deviation + FLOOR;
        square = signal[step] * signal[step];
        cubes += square * signal[step];
        fourths += square * square;
    }
    features[6] = cubes / count;
    features[7] = logarithm(1.0f + fourths / count);
    spectrum(work, power);
    for (at = 0; at < BINS; at++) {
        power[at] *= POWER_SCALE;
        total += power[at];
    }
    total += TOTAL_FLOOR;
    for (at = 0; at < BINS; at++) {
        const float share = power[at] / total;
        information -= share * logarithm(share + SHARE_FLOOR);
    }
    features[8 + BANDS] = information / LOG_BINS;
    /* Energy between edges, each of which lies within a bin. */
    for (at = 0; at < BANDS; at++) {
        const int first = edge_bin[at], last = edge_bin[at + 1];
        float energy = edge_share[at + 1] * power[last] - edge_share[at] * power[first];
        for (step = first; step < last; step++) {
            energy += power[step];
        }
        features[8 + at] = logarithm(greater(energy, 0.0f) + POWER_FLOOR);
    }
    return features + 9 + BANDS + LAGS;
}

/* Statistics of a window; see the notes on features above. */
static void features_of(const float *input, float *features, float *scratch)
{
    float *signal = scratch, *work = scratch + ALL * STEPS;
    int channel, other, step;
    for (channel = 0; channel < CHANNELS; channel++) {
        for (step = 0; step < STEPS; step++) {
            signal[channel * STEPS + step] = input[step * CHANNELS + channel];
        }
    }
    for (channel = CHANNELS; channel < ALL; channel++) {
        const float *x = input + 3 * (channel - CHANNELS);
        for (step = 0; step < STEPS; step++, x += CHANNELS) {
            signal[channel * STEPS + step] = root(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]);
        }
    }
    for (channel = 0; channel < ALL; channel++) {
        features = channel_features(signal + channel * STEPS, work, features);
    }
    for (channel = 0; channel < ALL; channel++) {
        for (other = channel + 1; other < ALL; other++) {
            float product = 0.0f;
            for (step = 0; step < STEPS; step++) {
                product += signal[channel * STEPS + step] * signal[other * STEPS + step];
            }
            *features++ = product / (float)STEPS;
        }
    }
#ifdef LIFTED
    *features = 0.0f;
#endif
}
