// What the gradient kernels of block attention know of a query row and head: the
// bits of lse and of rowsum(dOut·out), and the first context row and anchor of its block.
#define RECORD_BUFFER(at, name) layout(set = 0, binding = at) buffer name##_records { ivec4 name[]; };
#ifdef READ_TEXEL
#define RECORD_OPERAND OPERAND
#define RECORD(name, i) ivec4(TEXEL(name, i))
#else
#define RECORD_OPERAND RECORD_BUFFER
#define RECORD(name, i) name[i]
#endif
