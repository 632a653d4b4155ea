    float *features = scratch, *work = scratch + FEATURES;
#ifdef STUDENT_INT8
    int8_t *codes = (int8_t *)(work + BUFFERS);
#else
    int8_t *codes = 0;
#endif
    (void)work;
    STAGE(input, features, work);
    normalise(features);
