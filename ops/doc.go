// Package ops holds the operations, one file per op: the forward above its
// backward, where training needs one, each a kernel of package shaders with a
// float64 oracle in ops/oracle.
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
//	op                       forward                                  gradients
//	Gemm, GemmAdd, GemmOnto  C = op(A) op(B) (+ D)                    dA = dC Bᵀ, dB = Aᵀ dC (Gemm again)
//	Add                      a + b                                    that of the sum, for both
//	Cast                     x in another dtype                       none
//	RMSNorm                  y = w · x · rstd(x)                      dx, dw
//	RoPE                     rotate halves by host tables             the transposed rotation
//	NormRoPE                 RMSNorm of heads, then RoPE              those of RoPE, then of RMSNorm
//	SwiGLU                   silu(g) · u                              dg, du
//	SiLU                     x · sigmoid(x)                           dx
//	Embedding                rows of a table                          none: the table is frozen
//	CausalAttention          softmax(q kᵀ/√hd, causal) v              none: the target is frozen
//	BlockAttention           context < anchor, own block both ways    dq, dk, dv of block and context rows
//	GRU                      block-wise scan                          dgates, dW_hh, back through the block
//	CrossEntropyVisit        two streams, one visit of each chunk     gFinal, gFinal + gBase
//	CrossEntropyFinish       losses of the visits                     with the visits'
//	Gather, Scatter          rows by index                            each other
//	GroupSum                 rows added by group                      rows by index (Gather)
//	GradNorm                 norm of all gradients, what clips them   none: after the gradients
//	AdamW                    update on f32 masters                    none
//	Argmax                   largest of a row                         none, as of all below: they decode
//	Candidates               the K largest of a row
//	CorrectCandidates        their logits, corrected by the head
//	GatherIDs                token ids by index
//	GRUCell, GRUToken        one step of a GRU
//	HeadActivation           silu(W1 [z ; s])
//	SamplingProbs            softmax(x/temperature) of top k, top p
//	SampleIndex              a draw from each row
//	RejectionSample          drafts accepted, and the token after
package ops
