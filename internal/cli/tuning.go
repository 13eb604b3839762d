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
	c := ops.New(d)
	if tier == vk.T0 || d.CPU {
		return c, nil
	}
	if err := tune(c, os.Getenv(tuningVariable)); err != nil {
		return nil, err
	}
	if asked, err := vk.ParseTier(os.Getenv(vk.TierVariable)); err == nil && asked == vk.TierAuto {
		warning, err := c.ProveTier()
		if warning != nil {
			fmt.Fprintf(os.Stderr, "warning: %v\n", warning)
		}
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// tune lets a Context measure kernels, and keep what it measures in a folder.
func tune(c *ops.Context, folder string) error {
	if folder == "off" {
		return nil
	}
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			fmt.Fprintf(os.Stderr, "warning: measurements of kernels are not kept: %v\n", err)
			t, err := ops.NewTuning(c.Device)
			c.Tune(t)
			return err
		}
		folder = filepath.Join(cache, "vkdomino")
	}
	t, warning, err := ops.OpenTuning(c.Device, folder)
	if warning != nil {
		fmt.Fprintf(os.Stderr, "warning: %v\n", warning)
	}
	c.Tune(t)
	return err
}

// warnTuning says if measurements could not be written.
func warnTuning(c *ops.Context) {
	if t := c.Tuning(); t != nil && t.Err() != nil {
		fmt.Fprintf(os.Stderr, "warning: measurements of kernels are not kept: %v\n", t.Err())
	}
}
