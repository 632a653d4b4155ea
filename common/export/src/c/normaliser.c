
/* Brings features to the scale that the network knows. */
static void normalise(float *features)
{
    float square = 0.0f;
    int i;
#ifdef CURVES
    for (i = 0; i < CURVES; i++) {
        const float value = features[curve_feature[i]];
        const int last = curve_start[i + 1] - 1;
        int at = curve_start[i];
        float level = curve_levels[at];
#ifdef GAPS
        if (value != value) {
            continue;
        }
#endif
        while (at < last && curve_knots[at + 1] <= value) {
            at++;
            level = curve_levels[at];
        }
        if (at < last && value > curve_knots[at]) {
            level += (value - curve_knots[at]) / (curve_knots[at + 1] - curve_knots[at])
                * (curve_levels[at + 1] - curve_levels[at]);
        }
        features[curve_feature[i]] = level;
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
