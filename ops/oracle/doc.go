// Package oracle is the float64 reference of every op in package ops: plain loops that follow
// the formulas of spec.md line by line, slow and easy to check by eye. Tests and selftest
// compare the device's results with it; nothing else imports it.
//
// Tensors are row-major []float64 with their sizes given beside them; results are new slices
// and inputs are never changed. In a doc comment, [N, C] is a shape, and a size of 0 gives
// empty results. Backward functions return gradients of one use, not accumulated.
//
// A slice shorter than its sizes say, or an id outside its table, is a mistake in the calling
// test: the index expression panics, as it would for any Go slice.
//
//	file                 forward                        backward
//	gemm.go              GEMMNT, GEMMNN, GEMMTN         the same three
//	rmsnorm.go           RMSNorm                        RMSNormBackward
//	rope.go              RoPE, RoPETable, InvFreq       RoPEBackward
//	swiglu.go            SwiGLU                         SwiGLUBackward
//	silu.go              SiLU                           SiLUBackward
//	add.go               Add                            AddBackward
//	embedding.go         Embedding                      none: the table is frozen
//	causal_attention.go  CausalAttention                none: the target is frozen
//	block_attention.go   BlockAttention                 BlockAttentionBackward
//	gru.go               GRU                            GRUBackward
//	cross_entropy.go     CrossEntropy, CrossEntropyDual CrossEntropyDualBackward
//	rows.go              GatherRows                     ScatterAddRows
//	adamw.go, clip.go    AdamWStep, GlobalNorm, ClipCoefficient
//	dpace.go             DPaceWeights
//	argmax.go            Argmax
//	logsumexp.go         LogSumExp
//	sampling.go          Softmax, SamplingProbs, SampleIndex
//	check.go             Compare, Sweep, SweepOf
package oracle
