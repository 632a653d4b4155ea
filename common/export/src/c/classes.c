
/* Makes logits probabilities and returns the number of the largest. */
static int probabilities_of(float *values)
{
    float most, sum = 0.0f;
    int i, largest = 0;
    for (i = 1; i < ANSWERS; i++) {
        if (values[i] > values[largest]) {
            largest = i;
        }
    }
    most = values[largest];
    for (i = 0; i < ANSWERS; i++) {
        values[i] = exponential(values[i] - most);
        sum += values[i];
    }
    for (i = 0; i < ANSWERS; i++) {
        values[i] /= sum;
    }
    return largest;
}
