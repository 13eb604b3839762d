package cases

import (
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEmbeddedCasesAreWhole checks that every case has exactly the files that
// selftest reads, none of them empty, and that case.json names its own folder.
func TestEmbeddedCasesAreWhole(t *testing.T) {
	want := []string{
		"case.json", "draft.safetensors", "expected.safetensors", "inputs.safetensors",
		"target/config.json", "target/generation_config.json", "target/model.safetensors",
	}
	folders, err := fs.ReadDir(FS, ".")
	require.NoError(t, err)
	require.Len(t, folders, len(Names()))
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			sub, err := fs.Sub(FS, name)
			require.NoError(t, err)
			var got []string
			require.NoError(t, fs.WalkDir(sub, ".", func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				info, err := d.Info()
				require.NoError(t, err)
				require.Positive(t, info.Size(), path)
				got = append(got, path)
				return nil
			}))
			require.Equal(t, want, got)
			text, err := fs.ReadFile(sub, "case.json")
			require.NoError(t, err)
			var head struct {
				Name  string            `json:"name"`
				Steps []json.RawMessage `json:"steps"`
			}
			require.NoError(t, json.Unmarshal(text, &head))
			require.Equal(t, name, head.Name)
			require.NotEmpty(t, head.Steps)
		})
	}
}
