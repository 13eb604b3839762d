package selftest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/tensors"
)

// TestSmallBindings runs a case on a device that binds little at a time, so that the LM
// head, the vocabulary and every large operand are walked in pieces, as a real model's are.
func TestSmallBindings(t *testing.T) {
	device := testgpu.Device(t)
	limit := device.MaxBindingBytes
	defer func() { device.MaxBindingBytes = limit }()
	for dir, bytesBound := range map[string]int64{"cases/tiny-b4": 72 << 10, "../../testdata/golden/domino-kd-b8": 72 << 10} {
		device.MaxBindingBytes = bytesBound
		k, err := Open(dir)
		require.NoError(t, err)
		report, err := k.Run(testgpu.Context(t), tensors.F32)
		k.Close()
		require.NoError(t, err)
		var table bytes.Buffer
		report.Print(&table)
		t.Log("\n" + table.String())
		require.True(t, report.OK(), "a limit is missed with bindings of %d bytes:\n%s", bytesBound, table.String())
	}
}
