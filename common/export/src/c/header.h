@HEAD@#ifndef @UPPER@_H
#define @UPPER@_H

#ifdef __cplusplus
extern "C" {
#endif

/* Values of one input, row-major. */
#define @UPPER@_INPUTS @INPUTS@
#define @UPPER@_@COUNT@ @CLASSES@
/* Floats of working memory. */
#ifdef STUDENT_INT8
#define @UPPER@_SCRATCH @SCRATCH_INT8@
#else
#define @UPPER@_SCRATCH @SCRATCH@
#endif

/* What they are called, UTF-8. */
extern const char *const @NAME@_@LIST@[@UPPER@_@COUNT@];

/* @DOES@
 * Keeps nothing between calls. Compile the
 * source with STUDENT_INT8 defined (and this header where it is included) to
 * multiply layers as eight-bit integers. */
@RETURNS@ @NAME@_predict(const float *input, float *@ANSWER@, float *scratch);

#ifdef __cplusplus
}
#endif

#endif
