// Package ops holds the differentiable operations, one file per op: the forward
// above its backward, each a kernel of package shaders with a float64 oracle in
// ops/oracle.
//
// Shape letters, as in spec.md §1: B sequences of S tokens; T = B*S context
// rows; Q = draft rows, in blocks of bs (block_size); H hidden size; nH, nKV
// heads of hd; I intermediate size; V vocabulary; G gru_hidden_dim; E emb_dim;
// N rows and C columns of whatever an op works on.
//
// An op records its kernels into a Context and returns nothing: the first error
// (a wrong shape, a kernel that does not compile) stays in the Context, later
// ops do nothing, and Submit returns it. So a layer reads like its formula.
//
//	op                  forward                                      gradients
//	Gemm                C = op(A) op(B) (+ D)                        dA = dC Bᵀ, dB = Aᵀ dC (Gemm again)
//	RMSNorm             y = w · x · rstd(x)                          dx, dw
//	RoPE                rotate halves by host tables                 the transposed rotation
//	SwiGLU              silu(g) · u                                  dg, du
//	Embedding           rows of a table                              none: the table is frozen
//	CausalAttention     softmax(q kᵀ/√hd, causal) v                  none: the target is frozen
//	BlockAttention      context < anchor, own block both ways        dq, dk, dv of block and context rows
//	GRU                 block-wise scan                              dgates, dW_hh, back through the block
//	SiLU                x · sigmoid(x)                               dx
//	CrossEntropy        two streams, one visit of each tile          gFinal, gFinal + gBase
//	Gather, Scatter     rows by index                                each other
//	GroupSum            rows added by group                          rows by index (Gather)
//	SquareSum, AdamW    global norm, clipping, update on f32 masters
package ops
