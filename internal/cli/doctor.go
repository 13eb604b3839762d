package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

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
			if err != nil {
				return err
			}
			for _, d := range devices {
				printDevice(out, d)
			}
			if len(args) == 0 {
				return nil
			}
			return doctorRecipe(out, args)
		},
	}
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
	fmt.Fprintf(w, "  memory            %.1f GiB\n", float64(d.HeapBytes)/(1<<30))
	if len(d.Missing) > 0 {
		fmt.Fprintf(w, "  cannot be used: it lacks %s\n", strings.Join(d.Missing, ", "))
	}
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
	return plan.Check(device.Info)
}
