    float *features = scratch, *work = scratch + FEATURES;
    float most, sum = 0.0f;
    int i, class_number = 0;
#ifdef STUDENT_INT8
    int8_t *codes = (int8_t *)(work + BUFFERS);
#else
    int8_t *codes = 0;
#endif
    (void)work;
    STAGE(input, features, work);
    normalise(features);
