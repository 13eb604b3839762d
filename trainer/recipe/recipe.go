package recipe

import (
	"vkdomino/internal/fail"
)

// Recipe is a recipe as it was given, with defaults filled in: those that depend
// on the profile or the projector are final after Parse; those inherited from
// the target are zero until Resolve. Field names follow the keys of spec.md §15.
type Recipe struct {
	// Name is the file name, for messages.
	Name string
	// Set holds the dotted name of every key that the file or an override gave.
	Set map[string]bool

	Model    Model
	Data     Data
	Training Training
	DFlash   DFlash
	Compat   Compat
	Run      Run
	Metadata Metadata

	origin map[string]string // dotted key -> "demo.toml:12" or `override "…"`
}

// Model is the table [model]: the frozen target.
type Model struct {
	NameOrPath            string // model_name_or_path, a Hugging Face checkpoint folder
	TrustRemoteCode       bool   // must be false
	UseFakeBaseForOffline bool   // must be false
}

// Data is the table [data]: what is trained on.
type Data struct {
	Mode               string // must be "online"
	DataPath           string // JSONL of conversations
	OfflineDataPath    string // refused
	StreamingServerURL string // refused
	StreamingModelName string // no meaning here
	ChatTemplate       string // file with a Jinja template; empty: the checkpoint's
	SampleSize         int    // rows to use; -1: all
}

// Training is the table [training]: optimiser, schedule, lengths and cadence.
type Training struct {
	OutputDir               string
	Epochs                  float64 // num_train_epochs
	MaxSteps                int     // -1: by epochs
	BatchSize               int     // per_device_train_batch_size
	Accumulation            int     // gradient_accumulation_steps
	LearningRate            float64
	Schedule                string // lr_scheduler_type
	WarmupRatio             float64
	WarmupSteps             int
	WeightDecay             float64
	MaxGradNorm             float64
	Beta1, Beta2, AdamEps   float64
	SeqLen                  int // training_seq_len
	AnswerOnlyLoss          bool
	EstimateAR              bool
	ARValidateSteps         int // 0: off
	DoEval                  bool
	Seed                    uint64
	LoggingSteps, SaveSteps int
	SaveTotalLimit          int // 0: keep all
	DataloaderDropLast      bool
	BF16, TF32              bool
	RemoveUnusedColumns     bool
	DDPFindUnused           bool
	DDPTimeout              int
	CPSize, DPShardSize     int
	ReportTo                string
}

// DFlash is the table [dflash]: blocks, anchors, losses and the λ schedule.
type DFlash struct {
	Offline          bool
	BlockSize        int
	NumAnchors       int
	LossDecayFactor  float64 // gamma of exp(-k/gamma); 0: no decay
	LossObjective    string  // decay or dpace
	DPaceAlpha       float64
	MaskTokenID      int // -1: the tokenizer's
	SelfDistillation bool
	FreezeBaseModel  bool
	ReportAcc        bool
	UseTorchCompile  bool
	SWAWindow        int            // 0: full attention
	ExportRoPE       map[string]any // dflash_export_rope_scaling
	LambdaStart      float64
	LambdaRatio      float64
	DSparkCE         float64 // dflash_ce_loss_alpha, DSpark only
	DSparkL1         float64 // dflash_l1_loss_alpha, DSpark only
	DSparkConfidence float64 // dflash_confidence_head_alpha, DSpark only

	Architecture DFlashArchitecture
}

// DFlashArchitecture is the table [dflash.dflash_architecture_config]: the
// draft's geometry and head. A zero size that the recipe did not give is the
// target's.
type DFlashArchitecture struct {
	ProjectorType         string // "domino" or "dflash"
	NumLayers             int    // num_hidden_layers, D
	NumHeads              int    // num_attention_heads
	NumKVHeads            int    // num_key_value_heads
	HeadDim               int
	IntermediateSize      int
	MaxPositionEmbeddings int
	RMSNormEps            float64
	HiddenAct             string
	AttentionBias         bool
	AttentionDropout      float64
	InitializerRange      float64
	TieWordEmbeddings     bool
	EmbDim                int // bottleneck E of the Domino head
	GRUHiddenDim          int // state G of the Domino head
	PureDraftPrefixLen    int
	ShiftLabel            bool
	HiddenSize, VocabSize int
	RoPETheta             float64
	RoPEType              string
	TargetLayerIDs        []int // nil: the formula of spec.md §2.1
}

// Compat is the table [compat]: the profile, its switches (spec.md §18.A), and
// two extensions of the method (spec.md §5.7, §7.5).
type Compat struct {
	Profile                string // rc, modelopt or specforge
	AnchorRule             string // specforge, modelopt or nemo
	DenGuard               bool
	MaskIntersectAttention bool
	ContiguousLabels       bool
	GlobalNormalization    bool
	SuperviseEndOfTurn     bool
	StrictSeqDivisible     bool
	AllowUnknownTotalSteps bool
	DistillationWeight     float64
	InitFromTargetLayers   []int // nil: random initialisation
}

// Run is the table [run]: device, number format, and the evaluation while training.
type Run struct {
	Precision        string // bf16 or f32
	Device           int    // index; -1: auto
	Progress         bool
	EvalData         string
	EvalPrompts      int
	EvalMaxNewTokens int
	EvalDraftTokens  int // K
}

// Metadata is the table [metadata].
type Metadata struct {
	RecipeType string
}

// Given reports whether the file or an override gave the dotted key.
func (r *Recipe) Given(name string) bool { return r.Set[name] }

// where is the place of a key for messages: file and line, override, or the file alone.
func (r *Recipe) where(name string) string {
	if o, ok := r.origin[name]; ok {
		return o
	}
	return r.Name
}

// bad is a configuration error about one key.
func (r *Recipe) bad(name, hint, format string, args ...any) error {
	return fail.New(fail.Usage, hint, "recipe: %s: %s: "+format,
		append([]any{r.where(name), name}, args...)...)
}
