// Package domino is what makes a draft a Domino draft, and what of a plain DFlash draft is
// not its backbone: anchors, blocks, labels and weights, the objective, the λ curriculum,
// the draft's parameters and their initial values.
//
// One micro-batch goes through it in this order:
//
//	SampleAnchors   loss mask            -> anchors, keep           spec.md §3
//	NewLayout       anchors, input ids   -> the blocks the device runs, their ids and positions  §4
//	NewTargets      layout, loss mask    -> the head rows: label, weight, teacher row            §7.2, §7.5
//	(the device)    head rows            -> Results: CE and argmax per row                       §9.5
//	Targets.ApplyDPACE  Results          -> weights, where the objective is D-PACE               §7.5
//	Normalize       sums of weights      -> the factor that turns a weight into c_i = w_i/Den    §7.3, §9.1
//	Reduce          Results, Targets     -> Sums, and StepMetrics: what metrics.jsonl holds      §7.4
//
// Blocks that are not kept and rows without weight are left out at the first chance, so the
// device never sees them. All host arithmetic is float64. Letters (B, S, N, bs, …) are those of spec.md §1.1.
package domino
