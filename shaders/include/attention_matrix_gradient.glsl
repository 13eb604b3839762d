// What the gradient kernels of block attention on cooperative matrices share; see
// attention_gradient.glsl for the formulas. RECORDS holds lse and rowsum(dOut·out)
// of every query row and head, and at `table` eight words of magnitudes, of
// queries, keys, values and dOut, which matrices of f16 need, and the list of blocks.
#define BLOCK(i) RECORDS[records0 + table + 8u + (i)]
#ifdef ELEMENT_BF16
#define SCALE(i) 1.0
const float WEIGHT = 1.0, SLOPE = 1.0;
#else
#define SCALE(i) scale_of(uint(RECORDS[records0 + table + (i)]))
const float WEIGHT = 16384.0;          // P is at most 1
const float SLOPE = 1.0 / 8388608.0;   // |dOut·v - rowsum| is at most 2*128*2^30 of scaled operands
#endif
