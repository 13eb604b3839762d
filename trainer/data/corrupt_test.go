package data

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

type object = map[string]any

// TestTokenizerErrors breaks a tokenizer.json in one place each: LoadTokenizer
// names the place, what it wants and what it found.
func TestTokenizerErrors(t *testing.T) {
	raw := readFixture(t, "small_tokenizer.json.gz")
	model := func(key string, v any) func(object) {
		return func(f object) { f["model"].(object)[key] = v }
	}
	vocab := func(edit func(object)) func(object) {
		return func(f object) { edit(f["model"].(object)["vocab"].(object)) }
	}
	pre := func(part int, key string, v any) func(object) {
		return func(f object) {
			f["pre_tokenizer"].(object)["pretokenizers"].([]any)[part].(object)[key] = v
		}
	}
	added := func(key string, v any) func(object) {
		return func(f object) { f["added_tokens"].([]any)[1].(object)[key] = v }
	}
	merges := func(edit func([]any) []any) func(object) {
		return func(f object) { f["model"].(object)["merges"] = edit(f["model"].(object)["merges"].([]any)) }
	}
	set := func(key string, v any) func(object) { return func(f object) { f[key] = v } }
	for _, c := range []struct {
		name, want string
		edit       func(object)
	}{
		{"no model", "model: want a BPE model, got none", func(f object) { delete(f, "model") }},
		{"unigram", `model.type: want BPE, got "Unigram"`, model("type", "Unigram")},
		{"dropout", "model.dropout: want null, got 0.1", model("dropout", 0.1)},
		{"byte fallback", "model.byte_fallback: want false, got true", model("byte_fallback", true)},
		{"subword prefix", `model.continuing_subword_prefix: want none, got "##"`, model("continuing_subword_prefix", "##")},
		{"word suffix", `model.end_of_word_suffix: want none, got "</w>"`, model("end_of_word_suffix", "</w>")},
		{"unknown model key", "unknown member at model.vocabulary", model("vocabulary", 1)},
		{"unknown key", "unknown member at extra", set("extra", 1)},
		{"no merges", "model.merges: want a list, got none", func(f object) { delete(f["model"].(object), "merges") }},
		{"empty merges", "model.merges: want a list, got an empty one", model("merges", []any{})},
		{"merges null", "model.merges: want a list, got none", model("merges", nil)},
		{"merge of three", `model.merges[0]: want "a b", got "a b c"`, model("merges", []any{"a b c"})},
		{"mixed merges", `model.merges: want ["a", "b"] or "a b", all alike: want a string, got a list at 1`,
			model("merges", []any{"a b", []any{"a", "b"}})},
		{"merge of an unknown token", `model.merges[0]: want a token "qqq" in the vocabulary, got none`,
			merges(func(m []any) []any { m[0].([]any)[0] = "qqq"; return m })},
		{"merge into an unknown token", `model.merges[744]: want a token "ĠĠĠt" in the vocabulary, got none`,
			merges(func(m []any) []any { return append(m, []any{"ĠĠ", "Ġt"}) })},
		{"merge twice", `model.merges[744]: repeats merges[0], "Ġ" "t"`, merges(func(m []any) []any { return append(m, m[0]) })},
		{"no vocabulary", "model.vocab: want tokens, got none", model("vocab", object{})},
		{"id twice", `model.vocab: id 3: want one token, got a second`, vocab(func(v object) { v["zzz"] = 3 })},
		{"id negative", `model.vocab: "zzz": id: want 0 to 4194303, got -1`, vocab(func(v object) { v["zzz"] = -1 })},
		{"id huge", `model.vocab: "zzz": id: want 0 to 4194303, got 1000000000000`, vocab(func(v object) { v["zzz"] = 1000000000000 })},
		{"id a string", "want an integer, got a string at model.vocab.zzz", vocab(func(v object) { v["zzz"] = "3" })},
		{"no token for a byte", `model.vocab: byte 0x7f: want a token "ġ", got none`, vocab(func(v object) { delete(v, "ġ") })},
		{"empty token", "model.vocab: id 999999: want a token, got an empty one", vocab(func(v object) { v[""] = 999999 })},
		{"normalizer NFKC", `normalizer: want NFC or null, got "NFKC"`, set("normalizer", object{"type": "NFKC"})},
		{"normalizer sequence", `normalizer: want NFC or null, got "Sequence"`, set("normalizer", object{"type": "Sequence"})},
		{"normalizer option", "normalizer: unknown member at strip", set("normalizer", object{"type": "NFC", "strip": true})},
		{"normalizer without type", "normalizer: want a type, got none", set("normalizer", object{})},
		{"no pre-tokenizer", `pre_tokenizer: want a Sequence of Split and ByteLevel, got ""`, set("pre_tokenizer", nil)},
		{"pre-tokenizer alone", `pre_tokenizer: want a Sequence of Split and ByteLevel, got "ByteLevel"`, set("pre_tokenizer", object{"type": "ByteLevel"})},
		{"pre-tokenizer parts", `pre_tokenizer: want a Sequence of Split and ByteLevel, got ["Digits" "ByteLevel"]`, pre(0, "type", "Digits")},
		{"split by string", "pre_tokenizer: Split.pattern: want a Regex, got none", pre(0, "pattern", object{"String": " "})},
		{"split removed", `pre_tokenizer: Split.behavior: want Isolated, got "Removed"`, pre(0, "behavior", "Removed")},
		{"split inverted", "pre_tokenizer: Split.invert: want false, got true", pre(0, "invert", true)},
		{"split pattern", "pre_tokenizer: Split.pattern: error parsing regexp", pre(0, "pattern", object{"Regex": "("})},
		{"prefix space", "pre_tokenizer: ByteLevel.add_prefix_space: want false, got true", pre(1, "add_prefix_space", true)},
		{"byte level splits", "pre_tokenizer: ByteLevel.use_regex: want false, got true", pre(1, "use_regex", true)},
		{"post-processor", `post_processor: want ByteLevel, TemplateProcessing or null, got "BertProcessing"`, set("post_processor", object{"type": "BertProcessing"})},
		{"no decoder", `decoder: want ByteLevel, got ""`, set("decoder", nil)},
		{"decoder", `decoder: want ByteLevel, got "Metaspace"`, set("decoder", object{"type": "Metaspace"})},
		{"added without id", "added_tokens[1]: want an id, got none", func(f object) { delete(f["added_tokens"].([]any)[1].(object), "id") }},
		{"added with a taken id", `added_tokens[1]: "<|im_start|>": want an id of its own, got 5, which is taken`, added("id", 5)},
		{"added empty", "added_tokens[1]: content: want text, got none", added("content", "")},
		{"added twice", `added_tokens[1]: "<|endoftext|>": want each token once, got it again`, added("content", "<|endoftext|>")},
		{"added with another id", `added_tokens[1]: "a": want id 64, as in the vocabulary, got 1001`, added("content", "a")},
		{"added lstrip", `added_tokens[1]: "<|im_start|>": want single_word, lstrip and rstrip false, got one true`, added("lstrip", true)},
		{"added single word", `added_tokens[1]: "<|im_start|>": want single_word, lstrip and rstrip false, got one true`, added("single_word", true)},
		{"added not a list", "want a list, got an object at added_tokens", set("added_tokens", object{})},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokenizer.json")
			require.NoError(t, os.WriteFile(path, editJSON(t, raw, c.edit), 0o600))
			_, err := LoadTokenizer(path)
			require.ErrorContains(t, err, "data: tokenizer: "+path+": "+c.want)
			require.Equal(t, fail.Other, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
		})
	}
}

func TestTokenizerBrokenFile(t *testing.T) {
	raw := readFixture(t, "small_tokenizer.json.gz")
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {"", "invalid JSON at byte 0"},
		"cut":           {string(raw[:1000]), "invalid JSON at byte"},
		"not JSON":      {"tokenizer", "invalid JSON at byte"},
		"null":          {"null", "model: want a BPE model, got none"},
		"list":          {"[]", "want an object, got a list"},
		"repeated key":  {`{"model":null,"model":null}`, "duplicate object member name"},
		"lfs pointer":   {"version https://git-lfs.github.com/spec/v1\n", "invalid JSON at byte"},
		"invalid UTF-8": {"{\"version\":\"\xff\"}", "invalid UTF-8"},
	} {
		_, err := LoadTokenizer(writeFile(t, "tokenizer.json", c.text))
		require.ErrorContains(t, err, c.want, name)
	}
	_, err := LoadTokenizer(filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "no such file")
}

// TestTokenizerIgnores checks what is none of a tokenizer's business here.
func TestTokenizerIgnores(t *testing.T) {
	raw := readFixture(t, "small_tokenizer.json.gz")
	want, _, err := fixtureTokenizer(t, "small_tokenizer.json.gz").Encode("two words")
	require.NoError(t, err)
	tok, err := parseTokenizer(editJSON(t, raw, func(f object) {
		f["padding"] = object{"strategy": "BatchLongest", "direction": "Left"}
		f["truncation"] = object{"max_length": 1}
		f["post_processor"] = nil
	}))
	require.NoError(t, err)
	got, _, err := tok.Encode("two words")
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestTokenizerOptions(t *testing.T) {
	raw := readFixture(t, "small_tokenizer.json.gz")
	tok, err := parseTokenizer(editJSON(t, raw, func(f object) {
		f["post_processor"] = object{"type": "Sequence", "processors": []any{
			object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}}}
		f["added_tokens"] = append(f["added_tokens"].([]any), object{
			"id": 1004, "content": "caf\u00e9", "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false})
	}))
	require.NoError(t, err)
	ids, offsets, err := tok.Encode("the  the cafe\u0301!")
	require.NoError(t, err)
	require.Equal(t, int32(1004), ids[len(ids)-2], "found after normalization")
	require.Equal(t, [2]int{9, 13}, offsets[len(offsets)-2])
	for i, o := range offsets {
		text := []rune("the  the cafe\u0301!")[o[0]:o[1]]
		require.NotEqual(t, ' ', append(text, 'x')[0], "token %d starts after its space", i)
	}
	_, _, err = tok.Encode("a\xff")
	require.EqualError(t, err, "data: tokenizer: text: want UTF-8, got an invalid byte at offset 1")
}

func TestIgnoreMerges(t *testing.T) {
	raw := readFixture(t, "small_tokenizer.json.gz")
	tok, err := parseTokenizer(editJSON(t, raw, func(f object) {
		f["model"].(object)["ignore_merges"] = true
		f["model"].(object)["vocab"].(object)["zqzq"] = 1010
	}))
	require.NoError(t, err)
	ids, _, err := tok.Encode("zqzq")
	require.NoError(t, err)
	require.Equal(t, []int32{1010}, ids)
}

func TestSpecials(t *testing.T) {
	dir := t.TempDir()
	sp, err := LoadSpecials(dir)
	require.NoError(t, err)
	require.Equal(t, Specials{}, sp)
	config := filepath.Join(dir, "tokenizer_config.json")
	for text, want := range map[string]string{
		`{"bos_token": 5}`:                                "bos_token: want a string or an object with content, got 5",
		`{"eos_token": {"id": 1}}`:                        `eos_token: want a string or an object with content, got {"id": 1}`,
		`{"chat_template": 5}`:                            "chat_template: want a string or a list of named templates",
		`{"chat_template": [{"name":"x","template":""}]}`: "chat_template: want a template named default, got none",
		`{`:  "invalid JSON at byte 1",
		`[]`: "want an object, got a list",
	} {
		require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
		_, err := LoadSpecials(dir)
		require.ErrorContains(t, err, "data: specials: "+config+": "+want, text)
		require.Equal(t, fail.Other, fail.CodeOf(err))
	}
	text := `{"bos_token": null, "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": "<pad>", "mask_token": "<m>",
		"chat_template": [{"name":"tool_use","template":"t"},{"name":"default","template":"d"}], "model_max_length": 1e30}`
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	sp, err = LoadSpecials(dir)
	require.NoError(t, err)
	require.Equal(t, Specials{EOS: "</s>", Pad: "<pad>", Mask: "<m>", ChatTemplate: "d", TemplatePath: config}, sp)
	jinja := filepath.Join(dir, "chat_template.jinja")
	require.NoError(t, os.WriteFile(jinja, []byte("file"), 0o600))
	sp, err = LoadSpecials(dir)
	require.NoError(t, err)
	require.Equal(t, "file", sp.ChatTemplate)
	require.Equal(t, jinja, sp.TemplatePath)
}

func TestTemplateErrors(t *testing.T) {
	_, err := LoadTemplate(filepath.Join(t.TempDir(), "none.jinja"))
	require.ErrorContains(t, err, "no such file")
	path := writeFile(t, "t.jinja", "a\n{% if x %}")
	_, err = LoadTemplate(path)
	require.EqualError(t, err, "data: template: "+path+": line 2: want {% elif or else or endif %}, got the end of the template")
	require.Equal(t, fail.Other, fail.CodeOf(err))
	_, err = NewTemplate("{{ x | nothing }}")
	require.EqualError(t, err, `data: template: line 1: filter "nothing" is not supported`)
}
