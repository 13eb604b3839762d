package vk

/*
#include "shim.h"
#include <stdlib.h>
*/
import "C"

import (
	"time"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"

	"vkdomino/internal/fail"
)

// Options say which device to open and how.
type Options struct {
	Index      int  // the device's number, or -1 for the best one
	Validation bool // enable the Khronos validation layer with synchronisation checks
	Tier       Tier // TierAuto, or the tier to use instead of the device's own
	MinLimits  bool // report the limits that Vulkan guarantees instead of the device's own
}

// Device is an open Vulkan device with one compute queue. It is not safe for
// concurrent use.
type Device struct {
	Info
	instance   *instance
	physical   vulkan.PhysicalDevice
	handle     vulkan.Device
	queue      vulkan.Queue
	pool       vulkan.CommandPool
	fence      vulkan.Fence
	types      []memoryType
	tier       Tier
	validation bool
	pipelines  []*Pipeline
	buffers    map[*Buffer]struct{}
	views      map[Region]*texelView // see view
	viewers    map[uint64]struct{}   // lists of commands that read views
	lastViewer uint64
	idle, busy []vulkan.CommandBuffer
	running    *Recorder // what was started and not waited for
	lost       error
	profile    map[string]*Sample
	clock      *clock
	waitLimit  time.Duration
	fault      func(call string) vulkan.Result // what tests let the driver answer
}

// Open opens a device.
func Open(opt Options) (*Device, error) {
	in, info, err := openChosen(opt)
	if err == nil && widen(info) {
		in.close()
		in, info, err = openChosen(opt)
	}
	if err != nil {
		return nil, err
	}
	d := &Device{Info: info, instance: in, physical: in.physical[info.Index], tier: opt.Tier, validation: opt.Validation,
		buffers: map[*Buffer]struct{}{}, views: map[Region]*texelView{}, viewers: map[uint64]struct{}{}, waitLimit: waitLimit}
	if d.tier == TierAuto {
		d.tier = info.Tier()
	}
	if err := d.checkTier(d.tier); err != nil {
		in.close()
		return nil, err
	}
	if opt.MinLimits {
		d.MaxBindingBytes, d.MaxTexels = minimumBindingBytes, minimumTexels
		d.SharedBytes, d.MaxInvocations = minimumSharedBytes, minimumInvocations
	}
	if err := d.create(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// openChosen opens an instance and chooses its device.
func openChosen(opt Options) (*instance, Info, error) {
	in, err := openInstance(opt.Validation)
	if err != nil {
		return nil, Info{}, err
	}
	info, err := choose(in.describe(), opt.Index)
	if err != nil {
		in.close()
		return nil, Info{}, fail.New(fail.Other, "run `vkdomino doctor` to see the devices", "%w", err)
	}
	return in, info, nil
}

// Tier is the tier in use.
func (d *Device) Tier() Tier { return d.tier }

// Lower makes t the tier in use if it is below that: what a device was opened with for a tier covers those below.
func (d *Device) Lower(t Tier) { d.tier = min(d.tier, t) }

func (d *Device) create() error {
	extensions := []string{extPushDesc + "\x00"}
	if hasDeviceExtension(d.physical, extPortableChild) {
		extensions = append(extensions, extPortableChild+"\x00")
	}
	if d.fullSubgroups && hasDeviceExtension(d.physical, extSizeControl) {
		extensions = append(extensions, extSizeControl+"\x00")
	}
	more, want := d.extensionsFor(d.tier)
	extensions = append(extensions, more...)
	if d.fullSubgroups {
		want |= C.SHIM_SIZE_CONTROL
	}
	chain := featureChain(want)
	defer C.free(chain)
	queues := []vulkan.DeviceQueueCreateInfo{{SType: vulkan.StructureTypeDeviceQueueCreateInfo,
		QueueFamilyIndex: d.queueFamily, QueueCount: 1, PQueuePriorities: []float32{1}}}
	info := vulkan.DeviceCreateInfo{SType: vulkan.StructureTypeDeviceCreateInfo, PNext: chain,
		QueueCreateInfoCount: 1, PQueueCreateInfos: queues,
		EnabledExtensionCount: uint32(len(extensions)), PpEnabledExtensionNames: extensions}
	var handle vulkan.Device
	err := check(vulkan.CreateDevice(d.physical, &info, nil, &handle), "vkCreateDevice")
	info.Free()
	if err != nil {
		return err
	}
	d.handle = handle
	if C.shim_load_device(unsafe.Pointer(handle)) == 0 {
		return fail.New(fail.Other, "update the Vulkan driver", "vk: %s: entry points are missing", d.Name)
	}
	var queue vulkan.Queue
	vulkan.GetDeviceQueue(handle, d.queueFamily, 0, &queue)
	d.queue = queue
	d.types = memoryTypes(d.physical)

	pool := vulkan.CommandPoolCreateInfo{SType: vulkan.StructureTypeCommandPoolCreateInfo, QueueFamilyIndex: d.queueFamily,
		Flags: vulkan.CommandPoolCreateFlags(vulkan.CommandPoolCreateResetCommandBufferBit)}
	defer pool.Free()
	var poolHandle vulkan.CommandPool
	if err := check(vulkan.CreateCommandPool(handle, &pool, nil, &poolHandle), "vkCreateCommandPool"); err != nil {
		return err
	}
	d.pool = poolHandle
	fence := vulkan.FenceCreateInfo{SType: vulkan.StructureTypeFenceCreateInfo}
	defer fence.Free()
	var fenceHandle vulkan.Fence
	if err := check(vulkan.CreateFence(handle, &fence, nil, &fenceHandle), "vkCreateFence"); err != nil {
		return err
	}
	d.fence = fenceHandle
	return nil
}

// featureChain is the pNext chain of the features to enable, for the caller to free.
func featureChain(want C.uint32_t) unsafe.Pointer { return C.shim_feature_chain(want) }

// Messages waits for the device and returns the validation messages of error
// severity since the last call.
func (d *Device) Messages() []string {
	if d.instance == nil {
		return nil
	}
	if d.handle != nil && d.lost == nil {
		vulkan.DeviceWaitIdle(d.handle)
	}
	return d.instance.messages.take()
}

// inject is the result that a test wants instead of the driver's, or VK_SUCCESS.
func (d *Device) inject(call string) vulkan.Result {
	if d.fault == nil {
		return vulkan.Success
	}
	return d.fault(call)
}

// Close waits for the device, destroys everything made from it, and returns
// the validation messages not yet taken. A closed device may be closed again.
func (d *Device) Close() []string {
	if d.instance == nil {
		return nil
	}
	if d.handle != nil {
		if d.lost == nil {
			vulkan.DeviceWaitIdle(d.handle)
		}
		d.running = nil // Wait of a list after this does nothing
		for _, p := range d.pipelines {
			p.destroy()
		}
		for b := range d.buffers {
			b.destroy()
		}
		d.clock.destroy(d)
		if d.fence != nil {
			vulkan.DestroyFence(d.handle, d.fence, nil)
		}
		if d.pool != nil {
			vulkan.DestroyCommandPool(d.handle, d.pool, nil)
		}
		clear(d.buffers) // Free of a tensor's buffer after this does nothing
		vulkan.DestroyDevice(d.handle, nil)
		d.handle = nil
	}
	text := d.instance.close()
	d.instance = nil
	return text
}
