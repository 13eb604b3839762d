package cli_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// broken is one thing that is wrong, in a folder of its own.
type broken struct {
	name  string
	setUp func(f folder)
	args  []string // nil: train with the overrides
	with  []string // overrides
	env   []string
	code  int
	want  []string // parts of the output: the culprit by name, what was found, what was wanted
}

// folder is where a broken thing is made.
type folder struct {
	t   *testing.T
	dir string
}

func (f folder) write(name, text string) {
	require.NoError(f.t, os.MkdirAll(filepath.Dir(filepath.Join(f.dir, name)), 0o755))
	require.NoError(f.t, os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644))
}

func (f folder) read(name string) string {
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	require.NoError(f.t, err)
	return string(text)
}

func (f folder) remove(name string) { require.NoError(f.t, os.RemoveAll(filepath.Join(f.dir, name))) }

// copy puts a folder of the tests' base, or of this repository, into the folder.
func (f folder) copy(from, name string) {
	if !filepath.IsAbs(from) {
		from = filepath.Join("..", "..", from)
	}
	require.NoError(f.t, os.CopyFS(filepath.Join(f.dir, name), os.DirFS(from)))
}

// edit replaces a part of a file that must be there.
func (f folder) edit(name, old, new string) {
	text := f.read(name)
	require.Contains(f.t, text, old, name)
	f.write(name, strings.Replace(text, old, new, 1))
}

// cut shortens a file to n bytes.
func (f folder) cut(name string, n int) { f.write(name, f.read(name)[:n]) }

// drop removes a member of an object in a JSON file.
func (f folder) drop(name, object, member string) {
	var top map[string]json.RawMessage
	var inner map[string]json.RawMessage
	require.NoError(f.t, json.Unmarshal([]byte(f.read(name)), &top))
	require.NoError(f.t, json.Unmarshal(top[object], &inner))
	require.Contains(f.t, inner, member)
	delete(inner, member)
	var err error
	top[object], err = json.Marshal(inner)
	require.NoError(f.t, err)
	text, err := json.Marshal(top)
	require.NoError(f.t, err)
	f.write(name, string(text))
}

// flip changes one bit in the middle of a file.
func (f folder) flip(name string) {
	text := []byte(f.read(name))
	text[len(text)/2] ^= 4
	f.write(name, string(text))
}

// target is a case of a target folder with one edit.
func target(name string, edit func(f folder), code int, want ...string) broken {
	return broken{name: "target: " + name, code: code, want: want, with: []string{"model.model_name_or_path=target"},
		setUp: func(f folder) {
			f.copy(filepath.Join(base, "target"), "target")
			edit(f)
		}}
}

// lines is a case of a data file; lines of the demo come before the given ones.
func lines(name, text, want string, with ...string) broken {
	return broken{name: "data: " + name, code: 1, want: []string{"data.jsonl", want}, with: append(with, "data.data_path=data.jsonl", "data.sample_size=-1"),
		setUp: func(f folder) {
			demo, err := os.ReadFile(filepath.Join(base, "train.jsonl"))
			require.NoError(f.t, err)
			f.write("data.jsonl", string(bytes.Join(bytes.SplitAfterN(demo, []byte("\n"), 4)[:3], nil))+text)
		}}
}

// all is a case of a whole data file.
func all(name, text string, want ...string) broken {
	return broken{name: "data: " + name, code: 1, want: want, with: []string{"data.data_path=data.jsonl"},
		setUp: func(f folder) { f.write("data.jsonl", text) }}
}

// resumed is a case of a finished run of four steps that is to go on to six.
func resumed(name string, edit func(f folder), code int, with []string, want ...string) broken {
	return broken{name: "checkpoint: " + name, code: code, want: want, with: append([]string{"training.max_steps=6"}, with...),
		setUp: func(f folder) {
			f.copy(finished(f.t), ".")
			edit(f)
		}}
}

// selftest is a case of a conformance case with one edit.
func selftest(name string, edit func(f folder), want ...string) broken {
	return broken{name: "selftest: " + name, code: 1, want: want, args: []string{"selftest", "--case", "case"},
		setUp: func(f folder) {
			f.copy("testdata/golden/dflash-b8", "case")
			edit(f)
		}}
}

// usage is a wrong command line.
func usage(want string, args ...string) broken {
	return broken{name: "usage: " + strings.Join(args, " "), code: 2, want: []string{want}, args: args}
}

// key is an override that is refused.
func key(override string, want ...string) broken {
	name, _, _ := strings.Cut(override, "=")
	return broken{name: "recipe: " + override, code: 2, with: []string{override}, want: append(want, name)}
}

const conversation = `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}` + "\n"

// both does an edit in each of the two checkpoints.
func both(edit func(f folder, dir string)) func(f folder) {
	return func(f folder) {
		edit(f, "run/checkpoint-2/")
		edit(f, "run/checkpoint-4/")
	}
}

func brokenTargets() []broken {
	const weights, tokenizer, config = "target/model.safetensors", "target/tokenizer.json", "target/config.json"
	return []broken{
		{name: "target: no folder", code: 1, with: []string{"model.model_name_or_path=nowhere"}, want: []string{"nowhere/config.json", "hint: point model.model_name_or_path at"}},
		{name: "target: a file", code: 1, with: []string{"model.model_name_or_path=" + recipePath()}, want: []string{"recipe.toml/config.json"}},
		target("no config", func(f folder) { f.remove(config) }, 1, config),
		target("cut config", func(f folder) { f.cut(config, 200) }, 1, config, "not a JSON object"),
		target("another model", func(f folder) { f.edit(config, `"qwen3"`, `"llama"`) }, 1, config, `model_type "llama"`, "Qwen3 dense"),
		target("one layer", func(f folder) { f.edit(config, `"num_hidden_layers": 5`, `"num_hidden_layers": 1`) }, 2, "target_layer_ids"),
		target("no weights", func(f folder) { f.remove(weights) }, 1, "target", "want model.safetensors or model.safetensors.index.json"),
		target("cut weights", func(f folder) { f.cut(weights, 1_000_000) }, 1, weights, "data_offsets"),
		target("cut header", func(f folder) { f.cut(weights, 100) }, 1, weights, "header length"),
		target("empty weights", func(f folder) { f.cut(weights, 0) }, 1, weights, "want at least 8 bytes, got 0"),
		target("missing shard", func(f folder) {
			f.remove(weights)
			f.write("target/model.safetensors.index.json", `{"weight_map":{"model.norm.weight":"model-00001-of-00002.safetensors"}}`)
		}, 1, `"model-00001-of-00002.safetensors"`, "is missing"),
		target("another size", func(f folder) { f.edit(config, `"intermediate_size": 320`, `"intermediate_size": 352`) }, 1,
			"mlp.down_proj.weight: want [128 352], got [128 320]"),
		target("more layers than weights", func(f folder) {
			f.write(config, strings.ReplaceAll(f.read(config), "\"layer_types\": [\n", "\"ignored\": [\n"))
			f.edit(config, `"num_hidden_layers": 5`, `"num_hidden_layers": 20`)
		}, 1, "tensor model.layers.", "is missing"),
		target("no tokenizer", func(f folder) { f.remove(tokenizer) }, 1, tokenizer),
		target("cut tokenizer", func(f folder) { f.cut(tokenizer, 20_000) }, 1, tokenizer, "byte 20000"),
		target("tokenizer without merges", func(f folder) { f.drop(tokenizer, "model", "merges") }, 1, tokenizer, "model.merges: want a list, got none"),
		target("tokenizer of another model", func(f folder) { f.edit(config, `"vocab_size": 1008`, `"vocab_size": 1003`) }, 2, "dflash_mask_token_id", "1003"),
		target("template that does not parse", func(f folder) { f.write("target/chat_template.jinja", "{% for m in messages %}{{ m.content") }, 1, "the chat template of target", "line 1"),
		target("template that raises", func(f folder) {
			f.write("target/chat_template.jinja", "{% for m in messages %}{{ raise_exception('no robots') }}{% endfor %}")
		}, 1, "train.jsonl:1", "no robots"),
		target("template without a header", func(f folder) {
			f.write("target/chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}")
		}, 1, "generation blocks"),
		target("no template", func(f folder) { f.remove("target/chat_template.jinja") }, 1, "no chat template"),
		{name: "template: missing", code: 1, with: []string{"data.chat_template=nothere.jinja"}, want: []string{"nothere.jinja"}},
	}
}

func brokenData() []broken {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(conversation))
	z.Close()
	return []broken{
		{name: "data: no file", code: 1, with: []string{"data.data_path=nowhere.jsonl"}, want: []string{"nowhere.jsonl"}},
		{name: "data: a folder", code: 1, with: []string{"data.data_path=" + base}, want: []string{base, "got a folder"}},
		{name: "data: a pipe", code: 1, with: []string{"data.data_path=pipe"}, want: []string{"data: pipe: want a regular file"},
			setUp: func(f folder) { require.NoError(f.t, syscall.Mkfifo(filepath.Join(f.dir, "pipe"), 0o644)) }},
		{name: "data: a device", code: 1, with: []string{"data.data_path=/dev/null"}, want: []string{"data: /dev/null: want a regular file"}},
		all("empty", "", "data.jsonl: want at least one row, got none"),
		all("blank lines", "\n\r\n\n", "data.jsonl: want at least one row, got none"),
		all("no answers", strings.Repeat(`{"messages":[{"role":"user","content":"a"}]}`+"\n", 3), "data.jsonl", "3 with no assistant turn"),
		all("fewer rows than a batch", conversation, "data.jsonl", "want at least 2", "got 1"),
		all("gzip", zipped.String(), "data.jsonl:1", "gzip"),
		all("text without answers", `{"text":"plain"}`+"\n", "data.jsonl:1", "generation blocks"),
		lines("half a line", `{"messages": [{"role"`+"\n", "data.jsonl:4: want a JSON object"),
		lines("not UTF-8", "{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}\n", "data.jsonl:4: want UTF-8"),
		lines("a list", "[1]\n", "data.jsonl:4: want a JSON object, got a list"),
		lines("no known key", `{"prompt":"a"}`+"\n", "data.jsonl:4: want messages, conversations or text"),
		lines("unknown role", `{"messages":[{"role":"robot","content":"a"}]}`+"\n", `data.jsonl:4: messages[0].role: want system, user, assistant or tool, got "robot"`),
		lines("no content", `{"messages":[{"role":"user"}]}`+"\n", "data.jsonl:4: messages[0]"),
		lines("content of a wrong type", `{"messages":[{"role":"user","content":[5]}]}`+"\n", "data.jsonl:4: messages[0].content"),
		lines("a line of 17 MB", `{"text":"`+strings.Repeat("a", 17<<20)+`"}`+"\n", "data.jsonl:4: want a line of at most 16 MiB"),
		lines("cut to nothing", "", "data.jsonl", "training.training_seq_len=2"),
	}
}

func brokenRecipes() []broken {
	with := func(name, text string, want ...string) broken {
		return broken{name: "recipe: " + name, code: 2, want: want, args: []string{"train", "r.toml"}, setUp: func(f folder) { f.write("r.toml", text) }}
	}
	return []broken{
		usage("nothing.toml", "train", "nothing.toml"),
		usage("want a file", "train", "."),
		with("empty", "", "r.toml", "model.model_name_or_path"),
		with("not TOML", "[model\n", "r.toml:", "not valid TOML"),
		with("unknown table", "[modle]\n", "r.toml", "modle", "model"),
		key("training.lerning_rate=1", `did you mean "learning_rate"`),
		key("training.learning_rate=fast", "fast"),
		key("training.learning_rate=-1", "-1"),
		key("training.max_steps=0", "0"),
		key("dflash.dflash_lambda_base_start=1.1", "[0, 1]", "1.1"),
		key("dflash.dflash_lambda_base_decay_ratio=0", "0"),
		key("dflash.dflash_block_size=1", "1"),
		key("dflash.dflash_mask_token_id=1008", "[0, 1007]", "1008"),
		key("dflash.dflash_swa_window_size=3", "3"),
		key("dflash.dflash_architecture_config.projector_type=dominoo", "dominoo", "domino"),
		key("dflash.dflash_architecture_config.num_hidden_layers=6", "at most the target's 5 layers", "6"),
		key("dflash.dflash_architecture_config.target_layer_ids=[4]", "0 to 3", "4"),
		key("dflash.dflash_architecture_config.shift_label=false", "a draft is trained with true alone"),
		key("dflash.dflash_architecture_config.pure_draft_prefix_len=4", "4"),
		key("dflash.dflash_architecture_config.hidden_size=64", "64", "128"),
		key("compat.init_from_target_layers=[5]", "5"),
		key("data.offline_data_path=x", "offline"),
		key("model.trust_remote_code=true", "true"),
		key("training.output_dir=", "path"),
		key("run.precision=fp8", "fp8"),
	}
}

func brokenRuns() []broken {
	nothing := func(folder) {}
	return []broken{
		resumed("weights with a flipped bit", both(func(f folder, dir string) { f.flip(dir + "model.safetensors") }), 1, nil,
			"checkpoint-4: checkpoint is damaged: model.safetensors: SHA-256", "checkpoint-2: checkpoint is damaged", "--fresh"),
		resumed("cut moments", both(func(f folder, dir string) { f.cut(dir+"optimizer.safetensors", 1000) }), 1, nil, "optimizer.safetensors: want", "got 1000", "--fresh"),
		resumed("no manifest", both(func(f folder, dir string) { f.remove(dir + "manifest.json") }), 1, nil, "manifest.json: no such file", "--fresh"),
		resumed("empty state", both(func(f folder, dir string) { f.write(dir+"state.json", "") }), 1, nil, "state.json: want", "got 0", "--fresh"),
		resumed("newer format", both(func(f folder, dir string) { f.edit(dir+"manifest.json", `"format_version": 1`, `"format_version": 2`) }), 1, nil, "format version: want 1, got 2"),
		resumed("empty folders", both(func(f folder, dir string) { f.remove(dir); f.write(dir+"x", "") }), 1, nil, "manifest.json: no such file", "--fresh"),
		resumed("broken metrics", func(f folder) { f.edit("run/metrics.jsonl", `{"step":1`, `{"step":`) }, 1, nil, "metrics.jsonl", "line 2"),
		resumed("another learning rate", nothing, 2, []string{"training.learning_rate=2e-2"}, "training.learning_rate: was 0.01, now 0.02", "--fresh"),
		resumed("another seed and block size", nothing, 2, []string{"training.seed=1", "dflash.dflash_block_size=6"},
			"training.seed: was 42, now 1", "dflash.dflash_block_size: was 4, now 6"),
		resumed("other data", func(f folder) { f.write("data.jsonl", strings.Repeat(conversation, 8)) }, 2, []string{"data.data_path=data.jsonl"}, "content of data: was"),
		resumed("another target", func(f folder) {
			f.copy(filepath.Join(base, "target"), "target")
			f.edit("target/config.json", `"rms_norm_eps": 1e-06`, `"rms_norm_eps": 1e-05`)
		}, 2, []string{"model.model_name_or_path=target"}, "content of target: was", "rms_norm_eps: was 1e-06, now 1e-05"),
		resumed("another template", func(f folder) {
			f.write("own.jinja", "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}")
		}, 2, []string{"data.chat_template=own.jinja"}, `data.chat_template: was "", now own.jinja`),
		{name: "folder: beneath a file", code: 5, with: []string{"training.output_dir=" + recipePath() + "/run"}, want: []string{"recipe.toml"}},
		{name: "folder: a file", code: 5, setUp: func(f folder) { f.write("run", "") }, want: []string{"run"}},
		{name: "memory: train", code: 3, with: []string{"dflash.dflash_num_anchors=100000000"},
			want: []string{"the run needs", "scratch of the layers ", "draft MLP rows ", "training.per_device_train_batch_size"}},
		{name: "memory: weights alone", code: 3, with: []string{"dflash.dflash_architecture_config.intermediate_size=100000000"},
			want: []string{"the run needs", "layers.0.mlp.", "num_hidden_layers"}},
		{name: "memory: doctor", code: 3, args: []string{"doctor", recipePath(), "training.per_device_train_batch_size=100000000"},
			want: []string{"memory plan: ", "the run needs", "training.per_device_train_batch_size"}},
		{name: "device: none", code: 1, env: []string{"VK_DRIVER_FILES=/dev/null", "VK_ICD_FILENAMES=/dev/null"}, want: []string{"no usable Vulkan device", "mesa-vulkan-drivers"}},
		{name: "device: none, doctor", code: 1, args: []string{"doctor"}, env: []string{"VK_DRIVER_FILES=/dev/null", "VK_ICD_FILENAMES=/dev/null"}, want: []string{"no usable Vulkan device"}},
		{name: "device: no such tier", code: 2, env: []string{"VKDOMINO_TIER=fast"}, want: []string{`tier: want auto, 0, 1, 2 or 3, got "fast"`, "unset VKDOMINO_TIER"}},
		{name: "device: a tier that it lacks", code: 2, env: []string{"VKDOMINO_TIER=3"}, want: []string{"tier T3", "it lacks", "unset VKDOMINO_TIER"}},
		{name: "device: no such number", code: 1, with: []string{"run.device=99"}, want: []string{"device 99"}},
	}
}

func brokenCommands() []broken {
	checkpoint := func(f folder) { f.copy(finished(f.t), ".") }
	bad := func(name string, code int, edit func(f folder), args []string, want ...string) broken {
		return broken{name: "export: " + name, code: code, args: append([]string{"export"}, args...), want: want,
			setUp: func(f folder) { checkpoint(f); edit(f) }}
	}
	nothing := func(folder) {}
	return []broken{
		usage(`unknown command "trian"`, "trian"),
		usage("want a recipe, got 0 arguments", "train"),
		usage("--frsh", "train", "x.toml", "--frsh"),
		usage("key=value", "train", recipePath(), "training.max_steps"),
		usage("got 1 argument\n", "export", "x"),
		usage("int8", "selftest", "--precision", "int8"),
		usage("want no arguments", "demo", "x"),
		usage("--model", "data", "tokens"),
		usage("nothing.toml", "doctor", "nothing.toml"),
		bad("no such checkpoint", 1, nothing, []string{"run/checkpoint-9", "out"}, "run/checkpoint-9"),
		bad("damaged checkpoint", 1, func(f folder) { f.flip("run/checkpoint-4/model.safetensors") }, []string{"run/checkpoint-4", "out"}, "run/checkpoint-4", "SHA-256"),
		bad("a file", 2, func(f folder) { f.write("out", "") }, []string{"run/checkpoint-4", "out"}, "out"),
		bad("a folder of something else", 2, func(f folder) { f.write("out/thesis.txt", "") }, []string{"run/checkpoint-4", "out"}, `"thesis.txt"`),
		bad("the dtype", 2, nothing, []string{"run/checkpoint-4", "out", "--dtype", "f16"}, `"f16"`),
		bad("no name", 2, nothing, []string{"run/checkpoint-4", "", "--no-check"}, "want the name of a folder, got none"),
		bad("a place that cannot be made", 5, nothing, []string{"run/checkpoint-2", "/proc/none/out"}, "/proc/none"),
		selftest("no case", func(f folder) { f.remove("case/case.json") }, "case.json"),
		selftest("cut case.json", func(f folder) { f.cut("case/case.json", 100) }, "case/case.json"),
		selftest("no target", func(f folder) { f.remove("case/target") }, "case/target/config.json"),
		selftest("no draft", func(f folder) { f.remove("case/draft.safetensors") }, "draft.safetensors"),
		selftest("cut expectations", func(f folder) { f.cut("case/expected.safetensors", 5000) }, "case/expected.safetensors"),
		selftest("steps that are missing", func(f folder) { f.edit("case/case.json", `"total_steps": `, `"total_steps": 9`) }, "case/case.json", "steps: want"),
		{name: "selftest: no folder", code: 1, args: []string{"selftest", "--case", "nowhere"}, want: []string{"nowhere"}},
	}
}

// brokenValues are values of flags that are no sense, or that a command would have ignored or found out at its end.
func brokenValues() []broken {
	target := func() string { return filepath.Join(base, "target") }
	data := func() string { return filepath.Join(base, "train.jsonl") }
	with := func(code int, want string, args ...string) broken {
		return broken{name: "values: " + strings.Join(args, " "), code: code, args: args, want: []string{want},
			setUp: func(f folder) {
				f.copy(filepath.Join(finished(f.t), "run", "export"), "draft")
				f.write("folder/x", "")
				f.write("file", "")
			}}
	}
	eval := func(code int, want string, args ...string) broken {
		return with(code, want, append([]string{"eval", "--draft", "draft", "--target", target(), "--data", data()}, args...)...)
	}
	generate := func(code int, want string, args ...string) broken {
		return with(code, want, append([]string{"generate", "--target", target(), "--prompt", "x"}, args...)...)
	}
	regenerate := func(code int, want string, args ...string) broken {
		return with(code, want, append([]string{"data", "regenerate", "--target", target(), "--data", data(), "--out", "out.jsonl"}, args...)...)
	}
	const huge = "9223372036854775807"
	return []broken{
		eval(2, "--prompts: want anything but 0", "--prompts", "0"),
		eval(2, "--max-new-tokens: want anything but 0", "--max-new-tokens", "0"),
		eval(2, "want at most the target's max_position_embeddings 2048", "--prompts", "1", "--max-new-tokens", huge),
		eval(2, "--draft-tokens: want anything but 0", "--draft-tokens", "0"),
		eval(2, "eval: --draft-tokens: want 1 or more, got -1\n", "--draft-tokens", "-1"),
		eval(2, "eval: --batch: want 1 or more, got 0\n", "--batch", "0"),
		eval(1, "give the folder of a Hugging Face checkpoint with --target\n", "--target", "nosuch"),
		eval(2, "--device: want a number from 0, or -1", "--device", "-7"),
		eval(2, "--json: want a file, got the folder folder", "--json", "folder"),
		eval(5, "--html: nowhere/x.html: its folder: no such file or directory", "--html", "nowhere/x.html"),
		eval(5, "--html: file/x.html: its folder: not a directory", "--html", "file/x.html"),
		eval(2, "want two files for --json and --html, got same", "--json", "same", "--html", "same"),
		eval(2, "--precision: want bf16 or f32", "--precision", "fp8"),
		eval(1, "folder: want a file, got a folder", "--data", "folder"),
		eval(1, "draft: stat file/state.json", "--draft", "file"),
		eval(1, "dflash_config: missing", "--draft", target()),
		generate(2, "prompt: want at most the target's 2048 tokens", "--max-new-tokens", huge),
		generate(2, "want --temperature", "--temperature", "inf"),
		generate(2, "want --temperature", "--temperature", "nan"),
		generate(2, "--top-p above 0", "--temperature", "1", "--top-p", "0"),
		generate(2, "want a --draft", "--draft-tokens", "3"),
		generate(2, "want a --draft", "--candidates", "3"),
		generate(2, "candidates: want 0 to 1008, got -1", "--draft", "draft", "--candidates", "-1"),
		generate(2, "want 1 to 4 for block size 4, got 9", "--draft", "draft", "--draft-tokens", "9"),
		generate(1, "want UTF-8", "--prompt", "\xff"),
		generate(1, "unsupported target", "--target", "draft"),
		regenerate(2, "max_position_embeddings, 2048 tokens", "--max-new-tokens", huge),
		regenerate(2, "want --temperature", "--temperature", "inf"),
		regenerate(5, "--out: nowhere/x.jsonl: its folder: no such file or directory\nhint: make its folder first", "--out", "nowhere/x.jsonl"),
		regenerate(2, "--out: want a file, got the folder folder\nhint: name a file in it\n", "--out", "folder"),
		regenerate(2, "--rows: want anything but 0", "--rows", "0"),
		regenerate(1, "give the folder of a Hugging Face checkpoint with --target\n", "--target", "nosuch"),
		generate(1, "give the folder of a Hugging Face checkpoint with --target\n", "--target", "nosuch"),
		with(1, "give the folder of a Hugging Face checkpoint with --model\n", "data", "check", "--model", "nosuch", "--data", data()),
		regenerate(2, "not a row of this command", "--out", data(), "--rows", "1", "--max-new-tokens", "1"),
		with(1, "folder: want a file, got a folder", "data", "check", "--model", target(), "--data", "folder"),
		with(2, "--precision: want bf16 or f32", "data", "check", "--model", target(), "--data", data(), "--precision", "q8"),
		with(1, "want a checkpoint: stat draft/manifest.json", "export", "draft", "out"),
		with(1, "want a checkpoint: stat file/manifest.json", "export", "file", "out"),
		with(3, "the run needs", "bench", "gemm", "--shapes", "1000000x1000000x1000000"),
		with(2, "want MxNxK of sizes from 1 to", "bench", "gemm", "--shapes", "8x0x8"),
		with(2, "want MxNxK of sizes from 1 to", "bench", "gemm", "--shapes", "8x8x4000000000"),
		with(2, "--json: want a file", "bench", "gemm", "--json", "folder"),
		with(2, "--json: want a regular file, got /dev/null", "bench", "step", "--json", "/dev/null"),
		with(5, "--json: nowhere/x.json: its folder: no such file or directory", "bench", "kernels", "--json", "nowhere/x.json"),
		with(2, "bench peak: want flags alone", "bench", "peak", "fast"),
		with(2, "--device: want a number from 0", "selftest", "--device", "-2"),
		with(1, "want case.json or generation.json", "selftest", "--case", "folder"),
	}
}

// Every broken thing ends in one clear error before the first step: its exit code, the
// culprit's name, a hint, no trace of the program's insides, within seconds; what lies in
// the folder stays as it was, and nothing comes to it.
func TestBrokenInput(t *testing.T) {
	require.NoError(t, setUp())
	var list []broken
	for _, some := range [][]broken{brokenTargets(), brokenData(), brokenRecipes(), brokenRuns(), brokenCommands(), brokenValues()} {
		list = append(list, some...)
	}
	require.Greater(t, len(list), 100)
	for _, b := range list {
		t.Run(b.name, func(t *testing.T) { b.check(t) })
	}
}

func (b broken) check(t *testing.T) {
	const limit = 5 * time.Second // alone it takes a tenth of one; the tests share two cores
	f := folder{t, t.TempDir()}
	if b.setUp != nil {
		b.setUp(f)
	}
	args := b.args
	if args == nil {
		args = train(b.with...)
	}
	before := written(t, f.dir)
	cmd := command(t, f.dir, args...)
	cmd.Env = append(os.Environ(), b.env...)
	r := run(t, cmd)
	require.Equal(t, b.code, r.code, r.out)
	require.Contains(t, r.out, "vkdomino: ")
	for _, want := range b.want {
		require.Contains(t, r.out, want)
	}
	require.NotEmpty(t, r.hint(), r.out)
	require.Less(t, r.took, limit)
	require.Equal(t, before, written(t, f.dir))
}

// written is what lies in a folder, name by name with its size, but for a run's lock.
func written(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == ".lock" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sizes[path] = info.Size()
		}
		return err
	})
	require.NoError(t, err)
	return sizes
}
