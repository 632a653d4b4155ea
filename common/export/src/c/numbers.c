
/* Brings numbers to their units, within their limits. */
static void numbers_of(float *values)
{
    int i;
    for (i = 0; i < ANSWERS; i++) {
        const float number = values[i] * number_deviation[i] + number_mean[i];
        values[i] = lesser(greater(number, number_min[i]), number_max[i]);
    }
}
