
/* Brings features to the scale that the network knows. */
static void normalise(float *features)
{
    float square = 0.0f;
    int i;
#ifdef TRANSFORMS
    for (i = 0; i < TRANSFORMS; i++) {
        const float value = features[transform_feature[i]];
        const int last = transform_start[i + 1] - 1;
        int at = transform_start[i];
        float level = transform_levels[at];
#ifdef GAPS
        if (value != value) {
            continue;
        }
#endif
        while (at < last && transform_knots[at + 1] <= value) {
            at++;
            level = transform_levels[at];
        }
        if (at < last && value > transform_knots[at]) {
            level += (value - transform_knots[at]) / (transform_knots[at + 1] - transform_knots[at])
                * (transform_levels[at + 1] - transform_levels[at]);
        }
        features[transform_feature[i]] = level;
    }
#endif
    for (i = 0; i < FEATURES; i++) {
#ifdef GAPS
        if (features[i] != features[i]) {
            features[i] = mean[i];
        }
#endif
        const float scaled = scale[i] > 0.0f ? (features[i] - mean[i]) / scale[i] : 0.0f;
        features[i] = cut(scaled, CLIP) * FACTOR;
        square += features[i] * features[i];
    }
#ifdef UNIT_NORM
    if (square > 0.0f) {
        const float ratio = root((float)FEATURES / square);
        for (i = 0; i < FEATURES; i++) {
            features[i] *= ratio;
        }
    }
#else
    (void)square;
#endif
}
