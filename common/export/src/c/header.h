@HEAD@#ifndef @UPPER@_H
#define @UPPER@_H

#ifdef __cplusplus
extern "C" {
#endif

/* Values of one input, row-major. */
#define @UPPER@_INPUTS @INPUTS@
#define @UPPER@_CLASSES @CLASSES@
/* Floats of working memory. */
#ifdef STUDENT_INT8
#define @UPPER@_SCRATCH @SCRATCH_INT8@
#else
#define @UPPER@_SCRATCH @SCRATCH@
#endif

/* Names of the classes, UTF-8. */
extern const char *const @NAME@_classes[@UPPER@_CLASSES];

/* Writes the probability of each class for one input of finite values and returns the
 * number of the most likely one. Keeps nothing between calls. Compile the
 * source with STUDENT_INT8 defined (and this header where it is included) to
 * multiply layers as eight-bit integers. */
int @NAME@_predict(const float *input, float *probabilities, float *scratch);

#ifdef __cplusplus
}
#endif

#endif
