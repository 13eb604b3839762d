package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/metrics"
	"vkdomino/trainer/recipe"
)

// tinyRecipe trains one layer on a few rows of the demo, 4 micro-batches an epoch. Every
// test of whole runs uses its geometry, so that kernels are compiled once.
const tinyRecipe = `
[model]
model_name_or_path = "../testdata/demo/target"
[data]
data_path   = "../testdata/demo/train.jsonl"
sample_size = 11
[training]
max_steps                   = 7
per_device_train_batch_size = 2
training_seq_len            = 48
answer_only_loss            = true
learning_rate               = 1e-2
lr_scheduler_type           = "cosine"
warmup_steps                = 2
weight_decay                = 0.01
logging_steps               = 2
save_steps                  = 100
estimate_ar                 = true
[dflash]
dflash_block_size              = 4
dflash_num_anchors             = 3
dflash_mask_token_id           = 1003
dflash_loss_objective          = "decay"
dflash_loss_decay_factor       = 4.0
dflash_self_logit_distillation = false
[dflash.dflash_architecture_config]
projector_type        = "domino"
num_hidden_layers     = 1
emb_dim               = 16
gru_hidden_dim        = 32
pure_draft_prefix_len = 1
shift_label           = true
[run]
precision = "f32"
progress  = false
`

var (
	sharedOnce sync.Once
	shared     *ops.Context
)

func sharedContext(t *testing.T) *ops.Context {
	t.Helper()
	d := testgpu.Device(t)
	sharedOnce.Do(func() { shared = ops.New(d) })
	return shared
}

// prepare reads the tiny recipe with overrides and makes its session ready.
func prepare(t *testing.T, dir string, overrides ...string) *Session {
	t.Helper()
	r, _, err := recipe.Parse("tiny.toml", []byte(tinyRecipe), append([]string{"training.output_dir=" + dir}, overrides...))
	require.NoError(t, err)
	s, err := Prepare(t.Context(), r, nil)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// stopAfter is a context that ends when it has been asked n times by the functions whose names end with by: by the loop, before
// step n of a process.
type stopAfter struct {
	context.Context
	n  int
	by string
}

func (c *stopAfter) Err() error {
	pc, _, _, _ := runtime.Caller(1)
	if !strings.HasSuffix(runtime.FuncForPC(pc).Name(), c.by) {
		return nil
	}
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

const toTheEnd = 1 << 20

// train runs the tiny recipe in dir for at most steps steps, and returns what it printed.
func train(t *testing.T, dir string, steps int, opt Options, overrides ...string) (string, error) {
	t.Helper()
	s := prepare(t, dir, overrides...)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer out.Close()
	opt.Out, opt.Context = out, sharedContext(t)
	runErr := Train(&stopAfter{context.Background(), steps, "(*run).steps"}, s, opt)
	text, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	return string(text), runErr
}

// trained runs the tiny recipe in dir to its end.
func trained(t *testing.T, dir string, overrides ...string) string {
	t.Helper()
	text, err := train(t, dir, toTheEnd, Options{}, overrides...)
	require.NoError(t, err)
	return text
}

func readRows(t *testing.T, dir string) []metrics.Row {
	t.Helper()
	rows, err := metrics.ReadRows(filepath.Join(dir, metricsFile))
	require.NoError(t, err)
	return rows
}

// withoutTime is a row with the values that differ between equal runs set to 0.
func withoutTime(t *testing.T, row metrics.Row) string {
	t.Helper()
	row.SetFloat(metrics.Seconds, 0)
	if _, ok := row.Value(metrics.EvalSeconds); ok {
		row.SetFloat(metrics.EvalSeconds, 0)
	}
	text, err := json.Marshal(row)
	require.NoError(t, err)
	return string(text)
}

// requireSameRun compares the checkpoints of a step and all metrics bit for bit.
func requireSameRun(t *testing.T, wantDir, gotDir string, step int) {
	t.Helper()
	want, got := checkpoint.Dir(wantDir, step), checkpoint.Dir(gotDir, step)
	for _, name := range []string{checkpoint.ModelFile, checkpoint.OptimizerFile} {
		requireSameBytes(t, filepath.Join(want, name), filepath.Join(got, name))
	}
	wantRows, gotRows := readRows(t, wantDir), readRows(t, gotDir)
	require.Len(t, gotRows, len(wantRows))
	for i := range wantRows {
		require.Equal(t, withoutTime(t, wantRows[i]), withoutTime(t, gotRows[i]))
	}
	require.Equal(t, comparable(t, want), comparable(t, got), "state.json")
}

func requireSameBytes(t *testing.T, want, got string) {
	t.Helper()
	a, err := os.ReadFile(want)
	require.NoError(t, err)
	b, err := os.ReadFile(got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(a, b), "%s and %s differ", want, got)
}

// comparable is a checkpoint's state without clock times and paths.
func comparable(t *testing.T, dir string) checkpoint.State {
	t.Helper()
	l := load(t, dir)
	st := l.State
	st.Wall, st.RecipeJSON = 0, nil
	delete(st.Recipe, "training.output_dir")
	for i, line := range st.LogTail {
		var row metrics.Row
		require.NoError(t, json.Unmarshal(line, &row))
		st.LogTail[i] = json.RawMessage(withoutTime(t, row))
	}
	return st
}

func load(t *testing.T, dir string) *checkpoint.Loaded {
	t.Helper()
	l, err := checkpoint.Load(t.Context(), dir)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// set is an override of a key of the draft.
func set(key string, value any) string { return fmt.Sprintf("dflash.dflash_%s=%v", key, value) }
