// Package testgpu opens the Vulkan device that tests run on, and turns every
// validation message of error severity into a failure.
//
// The validation layer with its synchronisation checks is on unless the
// environment says VKDOMINO_VALIDATION=0 (for benchmarks). VKDOMINO_TIER=0 to 3
// asks for a tier, VKDOMINO_MIN_LIMITS=1 for the limits that Vulkan guarantees,
// VKDOMINO_NIGHTLY=1 for the long form of the tests that have one.
package testgpu

import (
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/vk"
)

var open = sync.OnceValues(func() (*vk.Device, error) {
	tier, err := vk.ParseTier(os.Getenv(vk.TierVariable))
	if err != nil {
		return nil, err
	}
	return vk.Open(vk.Options{Index: -1, Tier: tier, Validation: os.Getenv("VKDOMINO_VALIDATION") != "0",
		MinLimits: os.Getenv("VKDOMINO_MIN_LIMITS") == "1"})
})

// Nightly says whether tests that have a long form take it, as `make nightly` asks them to.
func Nightly() bool { return os.Getenv("VKDOMINO_NIGHTLY") == "1" }

// Device returns the process's device. When the test ends, validation messages since then fail it.
func Device(t testing.TB) *vk.Device {
	t.Helper()
	d, err := open()
	require.NoError(t, err, "tests need a Vulkan device with the validation layer: run `make setup`")
	t.Cleanup(func() {
		for _, m := range d.Messages() {
			t.Errorf("validation: %s", m)
		}
	})
	return d
}

// Context returns a new ops.Context on the device; its memory is freed when the test ends.
func Context(t testing.TB) *ops.Context {
	t.Helper()
	c := ops.New(Device(t))
	t.Cleanup(c.Release)
	return c
}
