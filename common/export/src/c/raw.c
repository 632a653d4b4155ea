
/* The values as they are; a feature behind them, if there is one, is a constant. */
static void features_of(const float *input, float *features)
{
    int i;
    for (i = 0; i < FEATURES; i++) {
        features[i] = i < VALUES ? input[i] : 0.0f;
    }
}
#define STAGE(input, features, work) features_of(input, features)
