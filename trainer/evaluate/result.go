package evaluate

// FormatVersion is that of Result as JSON.
const FormatVersion = 1

// Result is one evaluation. Its JSON is stable: keys are added, never renamed.
type Result struct {
	FormatVersion int    `json:"format_version"`
	Target        string `json:"target"` // folder
	Data          string `json:"data"`   // file
	Device        string `json:"device"`
	Precision     string `json:"precision"` // storage of weights and activations: f32 or bf16
	Prompts       int    `json:"prompts"`
	MaxNewTokens  int    `json:"max_new_tokens"`
	Batch         int    `json:"batch"`     // prompts decoded at a time
	Resamples     int    `json:"resamples"` // of the bootstrap

	NoDraft Measure `json:"no_draft"` // the target alone
	Drafts  []Draft `json:"drafts"`
}

// Draft is what one draft got.
type Draft struct {
	Path        string   `json:"path"`
	Step        int      `json:"step"` // of a checkpoint, else -1
	Kind        string   `json:"kind"` // domino or dflash
	BlockSize   int      `json:"block_size"`
	DraftTokens int      `json:"draft_tokens"`       // K, drafted in a cycle
	Full        Measure  `json:"full"`               // as it is served: with the head where it has one
	HeadOff     *Measure `json:"head_off,omitempty"` // its backbone alone; nil for a draft without a head
	Parts       Parts    `json:"parts"`              // of Full's cycles
}

// Measure is what one way of decoding got.
type Measure struct {
	Tau     float64   `json:"tau"`         // mean over samples of their means over all cycles
	Low     float64   `json:"tau_low"`     // 95 % bootstrap interval of Tau
	High    float64   `json:"tau_high"`    //
	Samples []float64 `json:"sample_taus"` // by prompt, 0 without a cycle

	Cycles    int       `json:"cycles"`    // passes of the target after the prompt, summed over prompts
	Tokens    int       `json:"tokens"`    // generated, after the cut
	Histogram []int     `json:"histogram"` // cycles by acceptance length, from 1 to K+1
	Accepted  []float64 `json:"accepted"`  // by draft position: share of the cycles that accepted it

	CallsPerToken float64 `json:"target_calls_per_token"` // cycles over the tokens that they gave, the prompt's pass excluded
	CallSpeedUp   float64 `json:"call_speed_up"`          // the target's cycles alone over Cycles, for the same prompts

	DecodeSeconds float64 `json:"decode_seconds"` // wall time of all cycles, the prompts' passes excluded
	CycleMillis   float64 `json:"cycle_ms"`       // of a pass over Batch prompts
	WallSpeedUp   float64 `json:"wall_speed_up"`  // the target's DecodeSeconds alone over these

	Lossless Lossless `json:"lossless"`
}

// Lossless compares greedy answers with those of the target alone.
type Lossless struct {
	Equal    int  `json:"equal"`          // prompts whose tokens are the same
	Of       int  `json:"of"`             // prompts compared
	Prompt   *int `json:"first_prompt"`   // of the first difference, nil where there is none
	Position *int `json:"first_position"` // of the answer's token
}

// Parts is where the time of a cycle goes, in milliseconds for a pass over Batch prompts.
// It is measured apart, as each part then is a submission of its own.
type Parts struct {
	Prompts int     `json:"prompts"` // that were decoded for it
	Draft   float64 `json:"draft_ms"`
	Head    float64 `json:"head_ms"`
	Verify  float64 `json:"verify_ms"`
}

// OK says whether every answer is the target's own.
func (l Lossless) OK() bool { return l.Equal == l.Of }

// Lossless says whether every answer of every draft is the target's own.
func (r *Result) Lossless() bool {
	for _, d := range r.Drafts {
		if !d.Full.Lossless.OK() || d.HeadOff != nil && !d.HeadOff.Lossless.OK() {
			return false
		}
	}
	return true
}
