package vk

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Limits of a dispatch that every device offers and every kernel keeps to.
const (
	MaxBuffers   = C.SHIM_MAX_BUFFERS
	MaxPushBytes = 4 * C.SHIM_PUSH_WORDS
)

const layoutFlagPush = 1 // VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT_KHR

// Pipeline is a compiled kernel.
type Pipeline struct {
	Name      string
	device    *Device
	buffers   int
	pushBytes int
	module    vulkan.ShaderModule
	setLayout vulkan.DescriptorSetLayout
	layout    vulkan.PipelineLayout
	handle    vulkan.Pipeline
}

// NewPipeline compiles a SPIR-V module whose entry point is main, with storage
// buffers at bindings 0 to buffers-1 of set 0, pushBytes of push constants, and
// 32-bit specialisation constants 0 to len(spec)-1. Kernels use subgroup
// operations across the device's subgroup size, which is requested where it varies.
func (d *Device) NewPipeline(name string, spirv []uint32, buffers, pushBytes int, spec []uint32) (*Pipeline, error) {
	if buffers > MaxBuffers || pushBytes > MaxPushBytes || len(spirv) == 0 {
		return nil, fmt.Errorf("vk: pipeline %s: %d buffers (at most %d), %d push bytes (at most %d), %d words of SPIR-V",
			name, buffers, MaxBuffers, pushBytes, MaxPushBytes, len(spirv))
	}
	p := &Pipeline{Name: name, device: d, buffers: buffers, pushBytes: pushBytes}
	if err := p.create(spirv, spec); err != nil {
		p.destroy()
		return nil, fmt.Errorf("vk: pipeline %s: %w", name, err)
	}
	d.pipelines = append(d.pipelines, p)
	return p, nil
}

func (p *Pipeline) create(spirv, spec []uint32) error {
	d := p.device
	mod := vulkan.ShaderModuleCreateInfo{SType: vulkan.StructureTypeShaderModuleCreateInfo, CodeSize: uint(4 * len(spirv)), PCode: spirv}
	defer mod.Free()
	var module vulkan.ShaderModule
	if err := check(vulkan.CreateShaderModule(d.handle, &mod, nil, &module), "vkCreateShaderModule"); err != nil {
		return err
	}
	p.module = module
	if err := p.createLayout(); err != nil {
		return err
	}
	var size C.uint32_t
	if d.canRequireSize && d.minSubgroup < d.maxSubgroup {
		size = C.uint32_t(d.SubgroupSize)
	}
	var first *C.uint32_t
	if len(spec) > 0 {
		first = (*C.uint32_t)(unsafe.Pointer(&spec[0]))
	}
	var handle unsafe.Pointer
	r := C.shim_create_pipeline(unsafe.Pointer(d.handle), unsafe.Pointer(p.module), unsafe.Pointer(p.layout), size, C.uint32_t(len(spec)), first, &handle)
	p.handle = vulkan.Pipeline(handle)
	return check(vulkan.Result(r), "vkCreateComputePipelines")
}

func (p *Pipeline) createLayout() error {
	d := p.device
	stage := vulkan.ShaderStageFlags(vulkan.ShaderStageComputeBit)
	bindings := make([]vulkan.DescriptorSetLayoutBinding, p.buffers)
	for i := range bindings {
		bindings[i] = vulkan.DescriptorSetLayoutBinding{Binding: uint32(i), DescriptorType: vulkan.DescriptorTypeStorageBuffer, DescriptorCount: 1, StageFlags: stage}
	}
	set := vulkan.DescriptorSetLayoutCreateInfo{SType: vulkan.StructureTypeDescriptorSetLayoutCreateInfo, Flags: layoutFlagPush,
		BindingCount: uint32(p.buffers), PBindings: bindings}
	defer set.Free()
	var setLayout vulkan.DescriptorSetLayout
	if err := check(vulkan.CreateDescriptorSetLayout(d.handle, &set, nil, &setLayout), "vkCreateDescriptorSetLayout"); err != nil {
		return err
	}
	p.setLayout = setLayout
	info := vulkan.PipelineLayoutCreateInfo{SType: vulkan.StructureTypePipelineLayoutCreateInfo, SetLayoutCount: 1, PSetLayouts: []vulkan.DescriptorSetLayout{setLayout}}
	if p.pushBytes > 0 {
		info.PushConstantRangeCount = 1
		info.PPushConstantRanges = []vulkan.PushConstantRange{{StageFlags: stage, Size: uint32(p.pushBytes)}}
	}
	defer info.Free()
	var layout vulkan.PipelineLayout
	if err := check(vulkan.CreatePipelineLayout(d.handle, &info, nil, &layout), "vkCreatePipelineLayout"); err != nil {
		return err
	}
	p.layout = layout
	return nil
}

func (p *Pipeline) destroy() {
	d := p.device.handle
	if p.handle != nil {
		vulkan.DestroyPipeline(d, p.handle, nil)
	}
	if p.layout != nil {
		vulkan.DestroyPipelineLayout(d, p.layout, nil)
	}
	if p.setLayout != nil {
		vulkan.DestroyDescriptorSetLayout(d, p.setLayout, nil)
	}
	if p.module != nil {
		vulkan.DestroyShaderModule(d, p.module, nil)
	}
}
