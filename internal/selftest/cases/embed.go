// Package cases holds the conformance cases that the binary carries: what the
// reference implementation computed for a few small training runs. Each case is
// one folder (case.json, target/, draft.safetensors, inputs.safetensors,
// expected.safetensors); the exporter's output of the same runs is left out.
package cases

import "embed"

// FS holds one folder per case: tiny-b4, masked-b8, cycle-b8 and dpace-cycle-b6.
// Paths are slash-separated, for example "tiny-b4/target/config.json".
//
//go:embed tiny-b4 masked-b8 cycle-b8 dpace-cycle-b6
var FS embed.FS

// Names lists the folders of FS in the order in which selftest runs them.
func Names() []string {
	return []string{"tiny-b4", "masked-b8", "cycle-b8", "dpace-cycle-b6"}
}
