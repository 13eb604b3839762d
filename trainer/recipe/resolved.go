package recipe

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"vkdomino/internal/fail"
)

// Target is what Resolve needs to know of the frozen target, from its
// config.json and its tokenizer.
type Target struct {
	NumLayers, HiddenSize, VocabSize int
	NumHeads, NumKVHeads, HeadDim    int
	IntermediateSize                 int
	MaxPositionEmbeddings            int
	RMSNormEps, RopeTheta            float64
	TieWordEmbeddings                bool
	MaskTokenID                      int // the tokenizer's; -1: none
}

// Resolved is every value the trainer uses, final. For a plain DFlash draft the
// fields of the head and of λ are zero.
type Resolved struct {
	// Paths and data.
	ModelPath      string
	DataPath       string
	ChatTemplate   string // empty: the checkpoint's own
	SampleSize     int    // -1: all rows
	AnswerOnlyLoss bool
	OutputDir      string

	// The draft.
	Domino                        bool // false: plain DFlash
	NumLayers                     int  // D
	NumHeads, NumKVHeads, HeadDim int
	IntermediateSize              int
	HiddenSize, VocabSize         int // the target's
	MaxPositionEmbeddings         int
	RMSNormEps, Theta             float64 // Theta is the target's RoPE base
	EmbDim, GRUHiddenDim          int     // E and G of the head
	PureDraftPrefixLen            int
	ShiftLabel                    bool
	TargetLayerIDs                []int // layers whose outputs are captured, in order
	InitFromTargetLayers          []int // nil: random
	InitializerRange              float64
	ExportRopeScaling             json.RawMessage // a JSON object, "{}" for none

	// Blocks and loss.
	BlockSize, NumAnchors    int
	MaskTokenID              int
	SWAWindow                int    // W; 0: full attention
	Objective                string // decay or dpace
	LossDecayGamma           float64
	DPaceAlpha               float64
	SelfDistillation         bool
	DistillationWeight       float64 // a; 0 without SelfDistillation
	LambdaStart, LambdaRatio float64

	// Compatibility switches of spec.md §18.A.
	Profile                string
	AnchorRule             string // specforge, modelopt or nemo
	DenGuard               bool
	MaskIntersectAttention bool
	ContiguousLabels       bool
	GlobalNormalization    bool
	SuperviseEndOfTurn     bool
	StrictSeqDivisible     bool
	AllowUnknownTotalSteps bool

	// Optimisation.
	SeqLen                  int
	BatchSize, Accumulation int
	LearningRate            float64
	Schedule                string  // linear, cosine or constant
	WarmupRatio             float64 // 0 where WarmupSteps > 0 or Schedule is constant
	WarmupSteps             int     // 0: by WarmupRatio
	WeightDecay             float64
	MaxGradNorm             float64
	Beta1, Beta2, AdamEps   float64
	MaxSteps                int // -1: by Epochs
	Epochs                  float64
	Seed                    uint64

	// Cadence, evaluation, device.
	LoggingSteps, SaveSteps int
	SaveTotalLimit          int // 0: keep all
	ReportTo                string
	EstimateAR              bool
	ARValidateSteps         int // 0: never
	EvalData                string
	EvalPrompts             int
	EvalMaxNewTokens        int
	EvalDraftTokens         int    // K
	Precision               string // bf16 or f32
	Device                  int    // index; -1: auto
	Progress                bool
}

// EmptyBatchIsError reports whether a batch without any anchor ends the run, as
// in SpecForge, instead of counting as a step with zero loss. Source: spec.md §18.A.
func (r *Resolved) EmptyBatchIsError() bool { return r.Profile == profileSpecForge }

// SuperviseNewline reports whether the newline after the end of a turn is
// supervised too, as in SpecForge. Source: spec.md §18.A.
func (r *Resolved) SuperviseNewline() bool {
	return r.Profile == profileSpecForge && r.SuperviseEndOfTurn
}

// optionalInt is an int of which 0 means none.
type optionalInt int

// projector is the boolean Domino, spelled as projector_type.
type projector bool

// deviceIndex is an int of which -1 means auto.
type deviceIndex int

// Flat is every resolved key, dotted, with its value in one canonical spelling:
// for state.json and for comparing a run with the recipe that resumes it.
// An absent number or list is "none", an absent path "". FromFlat is its inverse.
func (r *Resolved) Flat() map[string]string {
	m := map[string]string{}
	for _, k := range allKeys {
		if k.out != nil {
			m[k.name] = spell(k.out(r))
		}
	}
	return m
}

// none spells an absent number or list.
const none = "none"

// spell writes the value behind a pointer that key.out or key.in gives.
func spell(ptr any) string {
	switch p := ptr.(type) {
	case *bool:
		return strconv.FormatBool(*p)
	case *int:
		return strconv.Itoa(*p)
	case *uint64:
		return strconv.FormatUint(*p, 10)
	case *float64:
		return formatFloat(*p)
	case *string:
		return *p
	case *json.RawMessage:
		return string(*p)
	case *map[string]any:
		return string(objectJSON(*p))
	case *projector:
		if *p {
			return domino
		}
		return plain
	case *optionalInt:
		if *p != 0 {
			return strconv.Itoa(int(*p))
		}
	case *deviceIndex:
		if *p < 0 {
			return "auto"
		}
		return strconv.Itoa(int(*p))
	case *[]int:
		if *p != nil {
			return formatInts(*p)
		}
	}
	return none
}

// FromFlat is the inverse of Flat, for a configuration read from a checkpoint:
// every key must be there and no other. Errors have exit code fail.Other.
func FromFlat(flat map[string]string) (*Resolved, error) {
	const hint = "the checkpoint was written by another version: use that one, or another checkpoint"
	r := &Resolved{}
	known := 0
	for _, k := range allKeys {
		if k.out == nil {
			continue
		}
		known++
		text, ok := flat[k.name]
		if !ok {
			return nil, fail.New(fail.Other, hint, "recipe: stored configuration: %s: missing", k.name)
		}
		if err := parseSpelled(k.out(r), text); err != nil {
			return nil, fail.New(fail.Other, hint, "recipe: stored configuration: %s: %w", k.name, err)
		}
	}
	for name := range flat {
		if k, ok := keysByName[name]; !ok || k.out == nil {
			return nil, fail.New(fail.Other, hint, "recipe: stored configuration: %s: unknown key (want %d keys, got %d)", shorten(name), known, len(flat))
		}
	}
	return r, nil
}

// parseSpelled is the inverse of spell.
func parseSpelled(ptr any, text string) (err error) {
	switch p := ptr.(type) {
	case *bool:
		*p, err = strconv.ParseBool(text)
	case *int:
		*p, err = strconv.Atoi(text)
	case *uint64:
		*p, err = strconv.ParseUint(text, 10, 64)
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
	case *string:
		*p = text
	case *json.RawMessage:
		if !json.Valid([]byte(text)) {
			return fmt.Errorf("want JSON, got %s", describe(text))
		}
		*p = json.RawMessage(text)
	case *projector:
		if text != domino && text != plain {
			return fmt.Errorf("want %q or %q, got %s", domino, plain, describe(text))
		}
		*p = text == domino
	case *optionalInt:
		err = parseOptional((*int)(p), text, none, 0)
	case *deviceIndex:
		err = parseOptional((*int)(p), text, "auto", -1)
	case *[]int:
		*p, err = parseInts(text)
	}
	return err
}

func parseOptional(p *int, text, word string, value int) (err error) {
	if text == word {
		*p = value
		return nil
	}
	*p, err = strconv.Atoi(text)
	return err
}

func parseInts(text string) ([]int, error) {
	if text == none {
		return nil, nil
	}
	inner, ok := strings.CutPrefix(text, "[")
	inner, ok2 := strings.CutSuffix(inner, "]")
	if !ok || !ok2 {
		return nil, fmt.Errorf("want a list, got %s", describe(text))
	}
	var ids []int
	for part := range strings.SplitSeq(inner, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		ids = append(ids, n)
	}
	return ids, nil
}
