package recipe

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/recipe.md anew")

const referencePage = "../../docs/recipe.md"

func TestReferencePage(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile(referencePage, []byte(Markdown()), 0o644))
	}
	page, err := os.ReadFile(referencePage)
	require.NoError(t, err)
	require.Equal(t, string(page), Markdown(), "run: go test ./trainer/recipe -run TestReferencePage -update")
}

// Every row of the table is complete and consistent with the struct it fills.
func TestKeyTable(t *testing.T) {
	require.Len(t, keysByName, len(allKeys), "a key stands twice")
	pointers := map[any]string{}
	outs := map[any]string{}
	r, out := defaults(), &Resolved{}
	for _, k := range allKeys {
		table, _ := split(k.name)
		require.Contains(t, tableNames, table, k.name)
		require.NotEmpty(t, k.meaning, k.name)
		require.NotEmpty(t, k.rule.want, k.name)
		require.NotNil(t, k.in, k.name)
		require.Empty(t, pointers[k.in(r)], "%s shares a field", k.name)
		pointers[k.in(r)] = k.name
		require.False(t, k.unused != "" && k.out != nil, "%s has no meaning, yet is resolved", k.name)
		if k.out != nil {
			require.Empty(t, outs[k.out(out)], "%s shares a resolved field", k.name)
			outs[k.out(out)] = k.name
		}
	}
}

// A default that the page states as a constant is accepted when written out, and
// changes nothing.
func TestStatedDefaultsAreTheDefaults(t *testing.T) {
	want, _ := mustResolve(t, qwen3x8b)
	tried := 0
	for _, k := range allKeys {
		if k.def != "" || k.name == arch+"projector_type" {
			continue
		}
		d := spellDefault(k, defaults())
		out, _ := mustResolve(t, qwen3x8b, k.name+"="+d)
		require.Equal(t, want, out, "%s=%s", k.name, d)
		tried++
	}
	require.Greater(t, tried, 50)
}

func TestSuggestionsAreNear(t *testing.T) {
	for name, want := range map[string]string{
		"training.learningrate":                `; did you mean "learning_rate"?`,
		"dflash.block_size":                    `; did you mean "dflash_block_size"?`,
		"run.evaldata":                         `; did you mean "eval_data"?`,
		"compat.denguard":                      `; did you mean "den_guard"?`,
		"training.precision":                   "; precision belongs in [run]",
		"TRAINING.SEED":                        `; upper and lower case matter: write "training.seed"`,
		"training.xyzzy":                       "",
		"training." + strings.Repeat("a", 500): "",
	} {
		require.Equal(t, want, suggestion(name), name)
	}
}
