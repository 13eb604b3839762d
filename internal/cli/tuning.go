package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"vkdomino/ops"
	"vkdomino/vk"
)

// tuningVariable names the environment variable that says where measurements of kernels are kept: a folder,
// nothing for vkdomino in the user's cache folder, off for the usual kernels without measuring.
const tuningVariable = "VKDOMINO_TUNING"

// newContext is a Context on a device, tuned where the device's tier has kernels to choose among.
func newContext(d *vk.Device) (*ops.Context, error) { return contextOf(d, d.Tier()) }

func contextOf(d *vk.Device, tier vk.Tier) (*ops.Context, error) {
	c, folder := ops.New(d), os.Getenv(tuningVariable)
	if tier == vk.T0 || d.CPU || folder == "off" {
		return c, nil
	}
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			fmt.Printf("warning: measurements of kernels are not kept: %v\n", err)
			t, err := ops.NewTuning(d)
			c.Tune(t)
			return c, err
		}
		folder = filepath.Join(cache, "vkdomino")
	}
	t, warning, err := ops.OpenTuning(d, folder)
	if warning != nil {
		fmt.Printf("warning: %v\n", warning)
	}
	c.Tune(t)
	return c, err
}

// warnTuning says if measurements could not be written.
func warnTuning(c *ops.Context) {
	if t := c.Tuning(); t != nil && t.Err() != nil {
		fmt.Printf("warning: measurements of kernels are not kept: %v\n", t.Err())
	}
}
