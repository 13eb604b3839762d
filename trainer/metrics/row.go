package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The names of a Row's values, as metrics.jsonl and the event files spell them
// (spec.md §7.4).
const (
	Step             = "step"              // 0-based optimizer step
	Epoch            = "epoch"             // passes over the data so far
	Loss             = "loss"              // (1-λ)·final_loss + λ·base_loss; plain DFlash: its own loss
	FinalLoss        = "final_loss"        // Domino
	BaseLoss         = "base_loss"         // Domino
	FinalCE          = "final_ce"          // Domino with distillation: hard-label cross-entropy
	BaseCE           = "base_ce"           // Domino with distillation
	CE               = "ce"                // plain DFlash with distillation
	Accuracy         = "accuracy"          // of the final stream, undecayed mask
	BaseAccuracy     = "base_accuracy"     // Domino
	LambdaBase       = "lambda_base"       // Domino
	AcceptLen        = "accept_len"        // simulated acceptance length
	BaseAcceptLen    = "base_accept_len"   // Domino
	LearningRate     = "learning_rate"     // of this step's update
	GradNorm         = "grad_norm"         // before clipping
	SupervisedTokens = "supervised_tokens" // count
	Blocks           = "blocks"            // count of kept blocks
	EmptyBatches     = "empty_batches"     // 0 or 1
	SkippedUpdates   = "skipped_updates"   // so far in the run
	Seconds          = "seconds"           // wall time of the step
	EstimatedAR      = "estimated_training_ar"
	EvalTau          = "eval_tau"     // acceptance length on run.eval_data; of every ar_validate_steps-th step
	EvalSeconds      = "eval_seconds" // wall time of that evaluation, not part of Seconds
)

// Row is one optimizer step: named values in the order in which they were set.
// A value is an integer or a float64; the two stay apart through JSON, where a
// float always has a point or an exponent. The zero Row is empty and ready to use.
type Row struct {
	fields []field
}

type field struct {
	name    string
	integer bool
	i       int64
	f       float64
}

// SetInt sets an integer value: a new name goes to the end, a known one keeps its place.
func (r *Row) SetInt(name string, value int64) {
	r.set(field{name: name, integer: true, i: value})
}

// SetFloat sets a float value: a new name goes to the end, a known one keeps its place.
func (r *Row) SetFloat(name string, value float64) {
	r.set(field{name: name, f: value})
}

func (r *Row) set(f field) {
	for i := range r.fields {
		if r.fields[i].name == f.name {
			r.fields[i] = f
			return
		}
	}
	r.fields = append(r.fields, f)
}

// Value returns the named value as a float64, and whether the row has it.
func (r Row) Value(name string) (float64, bool) {
	for _, f := range r.fields {
		if f.name == name {
			return f.value(), true
		}
	}
	return 0, false
}

func (f field) value() float64 {
	if f.integer {
		return float64(f.i)
	}
	return f.f
}

// Names returns the names of the row's values in order.
func (r Row) Names() []string {
	names := make([]string, len(r.fields))
	for i, f := range r.fields {
		names[i] = f.name
	}
	return names
}

// Step returns the row's step, and false where it has none that is an integer >= 0.
func (r Row) Step() (int, bool) {
	for _, f := range r.fields {
		if f.name == Step {
			return int(f.i), f.integer && f.i >= 0
		}
	}
	return 0, false
}

// MarshalJSON writes the row as one object in the order of its names. JSON has no
// NaN or infinity: they are written as the strings "NaN", "+Inf" and "-Inf".
func (r Row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range r.fields {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return nil, fmt.Errorf("metrics: row: %q: %w", f.name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.WriteString(f.json())
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (f field) json() string {
	switch {
	case f.integer:
		return strconv.FormatInt(f.i, 10)
	case math.IsNaN(f.f):
		return `"NaN"`
	case math.IsInf(f.f, 1):
		return `"+Inf"`
	case math.IsInf(f.f, -1):
		return `"-Inf"`
	}
	s := strconv.FormatFloat(f.f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// UnmarshalJSON reads what MarshalJSON writes. Anything else than one flat object
// of numbers, the three strings for non-finite values, or a repeated name is an error.
func (r *Row) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("metrics: row: want one JSON object")
	}
	var row Row
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fmt.Errorf("metrics: row: %w", err)
		}
		value, err := d.Token()
		if err != nil {
			return fmt.Errorf("metrics: row: %w", err)
		}
		f, err := parseField(name.(string), value) // the decoder lets only strings be names
		if err != nil {
			return err
		}
		if _, twice := row.Value(f.name); twice {
			return fmt.Errorf("metrics: row: %q is there twice", f.name)
		}
		row.fields = append(row.fields, f)
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("metrics: row: %w", err)
	}
	*r = row
	return nil
}

// parseField turns a JSON token into a field.
func parseField(name string, value json.Token) (field, error) {
	switch v := value.(type) {
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			if i, err := v.Int64(); err == nil {
				return field{name: name, integer: true, i: i}, nil
			}
		}
		f, err := v.Float64()
		if err != nil {
			return field{}, fmt.Errorf("metrics: row: %q: want a number, got %s", name, v)
		}
		return field{name: name, f: f}, nil
	case string:
		if v == "NaN" || v == "+Inf" || v == "-Inf" {
			f, err := strconv.ParseFloat(v, 64)
			return field{name: name, f: f}, err
		}
	}
	return field{}, fmt.Errorf("metrics: row: %q: want a number, got %v", name, value)
}
