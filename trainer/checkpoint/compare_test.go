package checkpoint

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

func base() State {
	return State{
		Target: "t1", Tokenizer: "k1", Data: "d1", RNGScheme: "r1", RopeTheta: 1e6,
		PathSHA256: map[string]string{"data.chat_template": "c1"},
		Recipe: map[string]string{
			"model.model_name_or_path": "/models/a", "data.data_path": "train.jsonl", "data.chat_template": "a.jinja",
			"training.output_dir": "runs/a", "training.max_steps": "600", "training.learning_rate": "0.002",
			"training.per_device_train_batch_size": "8", "training.gradient_accumulation_steps": "2",
			"run.precision": "bf16", "run.progress": "true", "dflash.dflash_block_size": "8",
		},
	}
}

func TestCompare(t *testing.T) {
	set := func(kv ...string) func(*State) {
		return func(s *State) {
			for i := 0; i < len(kv); i += 2 {
				s.Recipe[kv[i]] = kv[i+1]
			}
		}
	}
	cases := []struct {
		name         string
		change       func(*State)
		refuse, warn []string
	}{
		{"nothing", func(*State) {}, nil, nil},
		{"counters play no part", func(s *State) { s.Step, s.TotalSteps, s.Wall = 9, 9, 9 }, nil, nil},
		{"more steps", set("training.max_steps", "900"), nil, []string{"training.max_steps"}},
		{"more epochs", set("training.num_train_epochs", "9"), nil, []string{"training.num_train_epochs"}},
		{"logging", set("training.logging_steps", "9", "training.save_steps", "9", "training.save_total_limit", "9", "training.report_to", "none"), nil,
			[]string{"training.logging_steps", "training.report_to", "training.save_steps", "training.save_total_limit"}},
		{"evaluation", set("training.estimate_ar", "true", "training.ar_validate_steps", "5"), nil, []string{"training.ar_validate_steps", "training.estimate_ar"}},
		{"learning rate", set("training.learning_rate", "0.1"), []string{"training.learning_rate"}, nil},
		{"warmup is not in the list", set("training.warmup_ratio", "0.1"), []string{"training.warmup_ratio"}, nil},
		{"block size", set("dflash.dflash_block_size", "16"), []string{"dflash.dflash_block_size"}, nil},
		{"a key that is gone", func(s *State) { delete(s.Recipe, "dflash.dflash_block_size") }, []string{"dflash.dflash_block_size"}, nil},
		{"precision", set("run.precision", "f32"), []string{"run.precision"}, nil},
		{"the rest of run", set("run.progress", "false", "run.eval_data", "x.jsonl", "run.device", "1"), nil, []string{"run.device", "run.eval_data", "run.progress"}},
		{"same product", set("training.per_device_train_batch_size", "4", "training.gradient_accumulation_steps", "4"), nil,
			[]string{"training.gradient_accumulation_steps", "training.per_device_train_batch_size"}},
		{"another product", set("training.per_device_train_batch_size", "4"), []string{"training.per_device_train_batch_size"}, nil},
		{"a batch that is no number", set("training.per_device_train_batch_size", "x"), []string{"training.per_device_train_batch_size"}, nil},
		{"the model has moved", set("model.model_name_or_path", "/disk2/a"), nil, []string{"model.model_name_or_path"}},
		{"the data has moved", set("data.data_path", "/disk2/train.jsonl"), nil, []string{"data.data_path"}},
		{"the template has moved", set("data.chat_template", "b.jinja"), nil, []string{"data.chat_template"}},
		{"the run has moved", set("training.output_dir", "runs/b"), nil, []string{"training.output_dir"}},
		{"another template", func(s *State) { s.Recipe["data.chat_template"], s.PathSHA256["data.chat_template"] = "b.jinja", "c2" },
			[]string{"data.chat_template", "content of data.chat_template"}, nil},
		{"the template was edited", func(s *State) { s.PathSHA256["data.chat_template"] = "c2" }, []string{"content of data.chat_template"}, nil},
		{"a template of unknown content", func(s *State) { s.Recipe["data.chat_template"], s.PathSHA256 = "b.jinja", nil }, []string{"data.chat_template"}, nil},
		{"the held-out prompts were edited", func(s *State) { s.PathSHA256["run.eval_data"] = "e2" }, nil, nil},
		{"another target", func(s *State) { s.Target = "t2" }, []string{"content of target"}, nil},
		{"another target elsewhere", func(s *State) { s.Target, s.Recipe["model.model_name_or_path"] = "t2", "/b" },
			[]string{"model.model_name_or_path", "content of target"}, nil},
		{"another tokenizer", func(s *State) { s.Tokenizer = "k2" }, []string{"content of tokenizer.json"}, nil},
		{"other data", func(s *State) { s.Data = "d2" }, []string{"content of data"}, nil},
		{"another random number scheme", func(s *State) { s.RNGScheme = "r2" }, []string{"rng_scheme"}, nil},
		{"another theta", func(s *State) { s.RopeTheta = 1e4 }, []string{"rope_theta"}, nil},
		{"two at once", set("training.max_steps", "900", "training.learning_rate", "1"), []string{"training.learning_rate"}, []string{"training.max_steps"}},
	}
	keys := func(list []Diff) (out []string) {
		for _, d := range list {
			out = append(out, d.Key)
		}
		return out
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			old, now := base(), base()
			old.PathSHA256["run.eval_data"] = "e1"
			now.PathSHA256["run.eval_data"] = "e1"
			c.change(&now)
			refuse, warn := Compare(old, now)
			require.Equal(t, c.refuse, keys(refuse))
			require.Equal(t, c.warn, keys(warn))
		})
	}
}

func TestCompareLeavesItsArgumentsAlone(t *testing.T) {
	old, now := base(), base()
	now.Recipe["x"] = "1"
	Compare(old, now)
	require.True(t, maps.Equal(base().Recipe, old.Recipe))
	refuse, _ := Compare(State{}, now)
	require.NotEmpty(t, refuse)
}

func TestRefusalNamesEachKeyWithBothValues(t *testing.T) {
	old, now := base(), base()
	now.Recipe["training.learning_rate"] = "0.1"
	delete(now.Recipe, "dflash.dflash_block_size")
	refuse, _ := Compare(old, now)
	err := Refusal("runs/a/checkpoint-100", refuse)
	require.ErrorContains(t, err, "runs/a/checkpoint-100")
	require.ErrorContains(t, err, "training.learning_rate: was 0.002, now 0.1")
	require.ErrorContains(t, err, "dflash.dflash_block_size: was 8, now (absent)")
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	require.Contains(t, fail.HintOf(err), "--fresh")
	require.NoError(t, Refusal("x", nil))
}
