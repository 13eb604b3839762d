package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vkdomino/internal/fail"
	"vkdomino/trainer"
	"vkdomino/trainer/recipe"
	"vkdomino/vk"
)

func newDoctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor [RECIPE [key=value…]]",
		Short: "Show the devices, and the memory plan of a recipe",
		Long: "Show every Vulkan device with driver, limits and tier, and what it lacks. With a recipe, resolve it against\n" +
			"its target and show the memory plan; a plan that cannot fit is refused with exit code 3.",
		Example: "  vkdomino doctor\n  vkdomino doctor configs/qwen3-8b.toml training.per_device_train_batch_size=2",
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			devices, err := vk.Devices()
			unlisted := nvidiaUnlisted(devices, nvidiaControl)
			if err != nil && unlisted {
				return fail.New(fail.CodeOf(err), nvidiaHint, "%w", err)
			}
			if err != nil {
				return err
			}
			for _, d := range devices {
				printDevice(out, d)
			}
			if unlisted {
				fmt.Fprintln(out, "warning: "+nvidiaHint)
			}
			if len(args) == 0 {
				return nil
			}
			return doctorRecipe(out, args)
		},
	}
}

const (
	nvidiaControl = "/dev/nvidiactl" // there where the kernel's part of NVIDIA's driver is
	nvidiaHint    = "there is an NVIDIA GPU, but Vulkan lists none: start the container with NVIDIA_DRIVER_CAPABILITIES=all, or install the driver's Vulkan package (libnvidia-gl-…)"
)

// nvidiaUnlisted says whether there is an NVIDIA GPU, by the file that controls it, and Vulkan does not list it.
func nvidiaUnlisted(devices []vk.Info, control string) bool {
	if _, err := os.Stat(control); err != nil {
		return false
	}
	return !slices.ContainsFunc(devices, func(d vk.Info) bool {
		return !d.CPU && strings.Contains(strings.ToLower(d.Name+" "+d.Driver), "nvidia")
	})
}

func printDevice(w io.Writer, d vk.Info) {
	fmt.Fprintf(w, "device %d: %s (%s)\n", d.Index, d.Name, d.Kind)
	fmt.Fprintf(w, "  driver            %s %s, Vulkan %s\n", d.Driver, d.DriverInfo, d.APIVersion)
	fmt.Fprintf(w, "  tier              %s; can run %s\n", d.Tier(), tierList(d))
	if len(d.Matrices) > 0 {
		fmt.Fprintf(w, "  matrices          %s\n", strings.Trim(fmt.Sprint(d.Matrices), "[]"))
	}
	if !d.CPU && d.Tier() < vk.T2 && slices.Contains(d.Tiers(), vk.T2) {
		fmt.Fprintf(w, "  worth a try       %s=2: products on f16 matrices, scaled into their range; compare `vkdomino bench step`\n", vk.TierVariable)
	}
	fmt.Fprintf(w, "  subgroup size     %d\n", d.SubgroupSize)
	fmt.Fprintf(w, "  largest binding   %d MiB\n", d.MaxBindingBytes>>20)
	fmt.Fprintf(w, "  shared memory     %d KiB, %d invocations in a workgroup\n", d.SharedBytes>>10, d.MaxInvocations)
	fmt.Fprintf(w, "  memory            %s\n", memoryLine(d))
	if len(d.Missing) > 0 {
		fmt.Fprintf(w, "  cannot be used: it lacks %s\n", strings.Join(d.Missing, ", "))
	}
}

// memoryLine is a device's memory, and what may be had of it now where that is much less.
func memoryLine(d vk.Info) string {
	line := fmt.Sprintf("%.1f GiB", float64(d.HeapBytes)/(1<<30))
	if have, less := d.Available(); less {
		line += fmt.Sprintf(", of which %.1f GiB may be had now", float64(have)/(1<<30))
	}
	return line
}

// tierList names the tiers that a device can be asked for.
func tierList(d vk.Info) string {
	var names []string
	for _, t := range d.Tiers() {
		names = append(names, t.String()[:2])
	}
	return strings.Join(names, ", ")
}

func doctorRecipe(w io.Writer, args []string) (err error) {
	r, notices, err := recipe.Load(args[0], args[1:])
	if err != nil {
		return err
	}
	session, err := trainer.ResolveTarget(r)
	if err != nil {
		return err
	}
	printNotices(w, append(notices, session.Notices...))
	device, err := openDevice(session.Recipe.Device)
	if err != nil {
		return err
	}
	defer closeDevice(device, &err)
	plan, err := trainer.PlanMemory(session.EngineConfig(device.MaxBindingBytes))
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "recipe %s on device %d\n", args[0], device.Index)
	plan.Print(w)
	return plan.Check(device.Now())
}
