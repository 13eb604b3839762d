package pyjinja

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ardanlabs/jinja"
	"github.com/stretchr/testify/require"
)

func readFixture(t testing.TB, name string, v any) {
	t.Helper()
	raw, err := os.ReadFile("../../../testdata/data/" + name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, v))
}

func variables(t testing.TB, raw []byte) map[string]jinja.Value {
	t.Helper()
	v, err := DecodeJSON(raw)
	require.NoError(t, err)
	return v.AsDict().Data
}

func render(source string, vars map[string]jinja.Value) (string, [][2]int, error) {
	t, err := Compile(source)
	if err != nil {
		return "", nil, err
	}
	return t.Render(vars)
}

// refused are the fragments that jinja2 renders and this package refuses, with
// its reason.
var refused = map[string]string{
	`{{ '%s' % 'x' }}`:                       "formatting with % is not supported",
	`{{ '{}'.format(1) }}`:                   `method "format" of str is not supported`,
	`{{ d.items() }}`:                        "want a value that can be printed, got a view: add the filter list",
	`{{ range(3) }}`:                         "want a value that can be printed, got a view: add the filter list",
	`{{ s.__class__ }}`:                      `line 1: attribute "__class__" is not supported`,
	`{{ loop }}`:                             "line 1: loop: only its attributes index, index0, revindex, revindex0, first, last, length, previtem, nextitem, cycle are supported",
	`{{ null }}`:                             `line 1: variable "null" is not supported`,
	`{{ s|e }} {{ s|safe }}`:                 `line 1: filter "e" is not supported`,
	`{{ s|wordcount }}`:                      `line 1: filter "wordcount" is not supported`,
	`{{ i.real }}`:                           `method "real" of int is supported only where it is called`,
	`{{ 9223372036854775807 + 1 }}`:          "9223372036854775807 + 1: integers beyond 64 bits are not supported",
	`{{ big + 1 }}`:                          "unsupported operand types for +: int and int",
	`{% with a = 1 %}{{ a }}{% endwith %}`:   `line 1: statement "with" is not supported`,
	`{% block b %}x{% endblock %}`:           `line 1: statement "block" is not supported`,
	`{% for x in l recursive %}{% endfor %}`: `line 1: want the end of the tag, got "recursive"`,
	`{% for a, b in ['xy'] %}{{ a }}{{ b }}{% endfor %}`: "loop: unpacking a str is not supported",
	`{{ ß }}`:                   "line 1: unexpected character 'ß'",
	`{{ 'é'.encode('utf-8') }}`: `method "encode" of str is not supported`,
	`{{ s is callable }} {{ s.upper is callable }}`:                                                                                                                  `method "upper" of str is supported only where it is called`,
	`{{ 5|round }} {{ 2.5|round }} {{ [1,2]|sum }} {{ [3,1]|max }}`:                                                                                                  `line 1: filter "round" is not supported`,
	`{{ s.find('l') }} {{ s.find('W') }} {{ s.rfind('l') }} {{ s.count('l') }} {{ s.index('l') }}`:                                                                   `method "index" of str is not supported`,
	`{% for x in [1,2,3] %}{{ loop.previtem is defined }} {{ loop.depth }}{% endfor %}`:                                                                              "line 1: loop: only its attributes index, index0, revindex, revindex0, first, last, length, previtem, nextitem, cycle are supported",
	`{{ {'a': 1, 'b': [1,2]} }} {{ {'a': {'b': {}}}}} {{ dict(a=1, b='x') }} {{ {'a':1}.a }} {{ {1:2} }}`:                                                            "dict: want keys of type str, got int",
	`{{ 1 + 2 }} {{ 1 - 2 }} {{ 2 * 3 }} {{ 7 / 2 }} {{ 8 / 2 }} {{ 7 // 2 }} {{ neg // 2 }} {{ neg % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 1.5 + 1.5 }}`: "2 ** -1 is not supported",
}

// TestFragments compares some 240 one-line templates with what Python's jinja2
// makes of them: the same text, an error where it has one, or a refusal that is
// listed above; never another text.
func TestFragments(t *testing.T) {
	var f struct {
		Vars  jsontext.Value `json:"vars"`
		Cases []struct {
			Source string   `json:"t"`
			Out    string   `json:"out"`
			Err    bool     `json:"err"`
			Spans  [][2]int `json:"spans"`
		} `json:"cases"`
	}
	readFixture(t, "fragments.json", &f)
	require.Greater(t, len(f.Cases), 230)
	seen := 0
	for _, c := range f.Cases {
		got, spans, err := render(c.Source, variables(t, f.Vars))
		why, isRefused := refused[c.Source]
		switch {
		case c.Err:
			require.Error(t, err, "%s: got %q", c.Source, got)
		case isRefused:
			seen++
			require.EqualError(t, err, why, c.Source)
		default:
			require.NoError(t, err, c.Source)
			require.Equal(t, c.Out, got, c.Source)
			require.Equal(t, append([][2]int{}, c.Spans...), spans, c.Source)
		}
	}
	require.Equal(t, len(refused), seen, "every refusal listed is one of the fixture")
}

// TestTemplates renders whole templates, with tools, thinking, macros and
// generation blocks, over ten conversations.
func TestTemplates(t *testing.T) {
	var f struct {
		Templates     map[string]string `json:"templates"`
		Conversations []jsontext.Value  `json:"conversations"`
		Expected      []struct {
			Template     string   `json:"t"`
			Conversation int      `json:"c"`
			Out          string   `json:"out"`
			Err          string   `json:"err"`
			Spans        [][2]int `json:"spans"`
		} `json:"expected"`
	}
	readFixture(t, "templates.json", &f)
	require.Len(t, f.Expected, len(f.Templates)*len(f.Conversations))
	for _, e := range f.Expected {
		vars := variables(t, f.Conversations[e.Conversation])
		for name, v := range map[string]jinja.Value{
			"bos_token": jinja.NewString("<s>"), "eos_token": jinja.NewString("</s>"), "tools": jinja.None(),
		} {
			if _, ok := vars[name]; !ok {
				vars[name] = v
			}
		}
		got, spans, err := render(f.Templates[e.Template], vars)
		if e.Err != "" {
			require.EqualError(t, err, e.Err, "%s %d", e.Template, e.Conversation)
			continue
		}
		require.NoError(t, err, "%s %d", e.Template, e.Conversation)
		require.Equal(t, e.Out, got, "%s %d", e.Template, e.Conversation)
		require.Equal(t, e.Spans, spans, "%s %d", e.Template, e.Conversation)
	}
}

// TestRefusals checks templates that would hang, crash or mislead.
func TestRefusals(t *testing.T) {
	for source, want := range map[string]string{
		"{{ strftime_now('%Y') }}":                                                "strftime_now is not supported: the training data would change from day to day",
		"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}":                         "want at most 100 nested macro calls, got more",
		"{{ range(1000000)|list }}":                                               "range: want at most 100000 numbers, got more",
		"{{ 'ab' * 99999999 }}":                                                   "want a string of at most 67108864 bytes, got more",
		"{{ ('a' * 60000000).replace('a', 'bbbb') }}":                             "replace(): want a string of at most 67108864 bytes, got more",
		strings.Repeat("{% if x %}", 100):                                         "line 1: want at most 60 nested blocks, got more",
		"{{ " + strings.Repeat("(", 100) + "1" + strings.Repeat(")", 100) + " }}": "line 1: want at most 60 nested expressions, got more",
		"{{ " + strings.Repeat("-", 100) + "1 }}":                                 "line 1: want at most 60 nested expressions, got more",
		"{{ " + strings.Repeat("not ", 100) + "1 }}":                              "line 1: want at most 60 nested expressions, got more",
		"a\n\n{{ b | nothing }}":                                                  `line 3: filter "nothing" is not supported`,
		"{{ b is nothing }}":                                                      `line 1: test "nothing" is not supported`,
		"{{ __print(1) }}":                                                        `line 1: variable "__print" is not supported`,
		"{% set __k0 = 1 %}":                                                      `line 1: variable "__k0" is not supported`,
		"{% set x = 1 %}{% set x.y = 2 %}":                                        "line 1: set x.y: want a namespace, got another variable",
		"{% set ns = namespace(a=1) %}{{ ns }}":                                   `line 1: namespace "ns": only its attributes are supported`,
		"{% macro f() %}{% generation %}{% endgeneration %}{% endmacro %}":        "line 1: a generation block inside of a generation, macro, set, call or filter block is not supported",
		"{% generation %}":                                                        "line 1: want {% endgeneration %}, got the end of the template",
		"{% if x %}\n{{ y }":                                                      "line 2: unexpected \"}\"",
		"{{ x.y.z }}":                                                             "want a value before .z, got an undefined one",
		"{{ 'abc":                                                                 `line 1: want the end of the string "'abc", got the end of the template`,
		"{# abc":                                                                  "line 1: want #} after {#, got the end of the template",
		"\xff":                                                                    "want UTF-8, got another encoding",
		strings.Repeat("x", MaxSource+1):                                          "want at most 262144 bytes, got 262145",
	} {
		_, _, err := render(source, map[string]jinja.Value{"x": jinja.NewDict()})
		require.EqualError(t, err, want, "%.80q", source)
	}
	_, _, err := render("x", map[string]jinja.Value{"__tick": jinja.None()})
	require.EqualError(t, err, `variable "__tick": want a name that does not start with __`)
}

func TestEndlessLoop(t *testing.T) {
	start := time.Now()
	loop := "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
	_, _, err := render(loop, nil)
	require.EqualError(t, err, "want at most 1000000 loop iterations, got more")
	require.Less(t, time.Since(start), 30*time.Second)
}

func TestDecodeJSON(t *testing.T) {
	for raw, want := range map[string]string{
		`{"a":1,"a":2}`:          "duplicate object member name",
		`"\ud800"`:               "surrogate",
		`[1,]`:                   "invalid character",
		`1e400`:                  "want a number of 64 bits, got 1e400",
		`1 2`:                    "want one JSON value, got more after it",
		``:                       "EOF",
		strings.Repeat("[", 300): "want at most 200 levels of JSON, got more",
		`{"a":tru}`:              "invalid",
		"\"\xff\"":               "invalid UTF-8",
	} {
		_, err := DecodeJSON([]byte(raw))
		require.ErrorContains(t, err, want, raw)
	}
}

func TestFloat(t *testing.T) {
	for f, want := range map[float64]string{
		2: "2.0", 0.1: "0.1", 1e16: "1e+16", 123456789012345680: "1.2345678901234568e+17", 9999999999999998: "9999999999999998.0",
		1e-4: "0.0001", 1e-5: "1e-05", 5e-324: "5e-324", 1e100: "1e+100", -3.25: "-3.25",
	} {
		require.Equal(t, want, pyFloat(f))
	}
}

// FuzzRender checks that no template breaks out: it renders or it is an error.
func FuzzRender(f *testing.F) {
	var cases struct {
		Vars  jsontext.Value `json:"vars"`
		Cases []struct {
			Source string `json:"t"`
		} `json:"cases"`
	}
	readFixture(f, "fragments.json", &cases)
	for _, c := range cases.Cases {
		f.Add(c.Source)
	}
	vars := variables(f, cases.Vars)
	f.Fuzz(func(t *testing.T, source string) {
		text, spans, err := render(source, vars)
		if err != nil {
			require.NotContains(t, err.Error(), "gave up", "%q", source)
			return
		}
		points := len([]rune(text))
		for _, s := range spans {
			require.True(t, 0 <= s[0] && s[0] <= s[1] && s[1] <= points)
		}
	})
}
