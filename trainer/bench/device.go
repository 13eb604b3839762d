package bench

import (
	"vkdomino/vk"
)

// Device says what a figure was measured on.
type Device struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"` // discrete, integrated, virtual, cpu, other
	Driver     string `json:"driver"`
	DriverInfo string `json:"driver_info"`
	API        string `json:"vulkan"`
	Tier       string `json:"tier"`
	Subgroup   int    `json:"subgroup_size"`
	CPU        bool   `json:"cpu"`
	// Clock is where times come from: the device's timestamps, or this machine's wall clock.
	Clock string `json:"clock"`
}

// DeviceOf describes an open device.
func DeviceOf(d *vk.Device) Device {
	out := Device{Name: d.Name, Kind: d.Kind, Driver: d.Driver, DriverInfo: d.DriverInfo, API: d.APIVersion, Tier: d.Tier().String(),
		Subgroup: d.SubgroupSize, CPU: d.CPU, Clock: "wall"}
	if usesClock(d) {
		out.Clock = "timestamps"
	}
	return out
}

// usesClock says whether the device's timestamps are used.
func usesClock(d *vk.Device) bool { return d.HasClock() }
