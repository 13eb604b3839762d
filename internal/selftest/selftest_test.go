package selftest

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/tensors"
)

// TestCases runs every conformance case, those that the binary carries and the others, in both precisions.
func TestCases(t *testing.T) {
	var dirs []string
	for _, pattern := range []string{"cases/*/case.json", "../../testdata/golden/*/case.json"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, f := range found {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	require.Len(t, dirs, 9)
	for _, dir := range dirs {
		for _, precision := range []tensors.DType{tensors.F32, tensors.BF16} {
			t.Run(filepath.Base(dir)+"/"+precision.String(), func(t *testing.T) {
				k, err := Open(dir)
				require.NoError(t, err)
				defer k.Close()
				report, err := k.Run(testgpu.Context(t), precision)
				require.NoError(t, err)
				var table bytes.Buffer
				report.Print(&table)
				t.Log("\n" + table.String())
				require.True(t, report.OK(), "a limit is missed:\n%s", table.String())
			})
		}
	}
}
