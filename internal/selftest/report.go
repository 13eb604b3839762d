package selftest

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"vkdomino/tensors"
)

// Row is one line of the report: the worst error of a quantity.
type Row struct {
	Quantity string
	Error    float64 // relative L2 error unless the quantity says otherwise
	Where    string  // the tensor, metric or step where it was worst
	Limit    float64
	Judged   bool // otherwise the row is for information
}

// OK reports whether the row is within its limit, or not judged.
func (r Row) OK() bool { return !r.Judged || r.Error <= r.Limit }

// Report is the result of one case.
type Report struct {
	Case string
	Rows []Row
}

// OK reports whether every row holds.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Rows, func(row Row) bool { return !row.OK() })
}

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%s\n  %-34s %10s %9s  %-5s %s\n", r.Case, "quantity", "worst", "limit", "", "where")
	for _, row := range r.Rows {
		verdict, limit := "ok", fmt.Sprintf("%.1e", row.Limit)
		switch {
		case !row.Judged:
			verdict, limit = "info", "-"
		case !row.OK():
			verdict = "FAIL"
		}
		fmt.Fprintf(w, "  %-34s %10.2e %9s  %-5s %s\n", row.Quantity, row.Error, limit, verdict, row.Where)
	}
}

// limits are the acceptance limits of a precision.
type limits struct {
	features, loss0, lossLater     float64
	gradient, gradientNorms        float64 // f32: relative L2; bf16: 1 - cosine, and of q_norm and k_norm
	norm0, normLater, accuracy     float64
	lambda, trimmedDelta, allDelta float64
	cosine                         bool
}

// limitsOf are the limits of issue and docs: an honest float32 engine stays three to thirty
// times below each, the usual bugs lie far above; in bf16 several ways of rounding stay
// within a quarter of them.
func limitsOf(precision tensors.DType) limits {
	if precision == tensors.BF16 {
		return limits{features: 3e-2, loss0: 2e-2, lossLater: 5e-2, gradient: 0.01, gradientNorms: 0.1, norm0: 5e-2, lambda: 1e-12, cosine: true}
	}
	return limits{features: 2e-5, loss0: 3e-6, lossLater: 1e-5, gradient: 1e-4, gradientNorms: 1e-4, norm0: 1e-5, normLater: 1e-4,
		accuracy: 1e-6, lambda: 1e-12, trimmedDelta: 3e-3, allDelta: 5e-2}
}

// note keeps the worst error of a quantity. A limit of 0 with judged false is for information.
func (r *Report) note(quantity string, err, limit float64, judged bool, where string) {
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Quantity != quantity {
			continue
		}
		// A row's worst is the error that is largest against its own limit.
		if !(err/max(limit, 1e-300) <= row.Error/max(row.Limit, 1e-300)) {
			row.Error, row.Limit, row.Where = err, limit, where
		}
		return
	}
	r.Rows = append(r.Rows, Row{quantity, err, where, limit, judged})
}

// relative is ‖a-b‖/‖b‖; where b is zero, 0 only if a is too. NaN counts as infinite.
func relative(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var diff, norm, own float64
	for i := range b {
		d := float64(a[i]) - float64(b[i])
		diff += d * d
		norm += float64(b[i]) * float64(b[i])
		own += float64(a[i]) * float64(a[i])
	}
	return ratio(math.Sqrt(diff), math.Sqrt(norm), own == 0)
}

func ratio(diff, norm float64, ownZero bool) float64 {
	switch {
	case norm == 0 && ownZero:
		return 0
	case norm == 0 || math.IsNaN(diff):
		return math.Inf(1)
	}
	return diff / norm
}

// cosineError is 1 - cos(a, b).
func cosineError(a, b []float32) float64 {
	var dot, aa, bb float64
	for i := range b {
		dot += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	c := dot / math.Sqrt(aa*bb)
	if math.IsNaN(c) {
		return math.Inf(1)
	}
	return 1 - c
}

func allZero(v []float32) bool {
	return !slices.ContainsFunc(v, func(x float32) bool { return x != 0 })
}

// isLoss: every number of a step or probe with such a name is a loss.
func isLoss(name string) bool {
	return strings.HasSuffix(name, "loss") || strings.HasSuffix(name, "_ce")
}
