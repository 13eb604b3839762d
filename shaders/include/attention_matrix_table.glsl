// The list of blocks or segments that the forward passes on cooperative matrices
// read, words of TABLE from table0 on. Where matrices are of f16, eight words of
// magnitudes come before it: of queries, keys and values.
#define SUMMED_X false
#ifdef ELEMENT_BF16
#define LISTED(i) TABLE[table0 + (i)]
#define SCALE(i) 1.0
const float WEIGHT = 1.0;
#else
#define LISTED(i) TABLE[table0 + 8u + (i)]
#define SCALE(i) scale_of(uint(TABLE[table0 + (i)]))
const float WEIGHT = 16384.0; // weights are at most 1
#endif
