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
	Name       string
	device     *Device
	buffers    int
	texels     uint32
	statistics []Statistic
	pushBytes  int
	module     vulkan.ShaderModule
	setLayout  vulkan.DescriptorSetLayout
	layout     vulkan.PipelineLayout
	handle     vulkan.Pipeline
}

// Shader is what a pipeline is made of: a SPIR-V module whose entry point is main, with storage
// buffers at bindings 0 to Buffers-1 of set 0, PushBytes of push constants, and 32-bit
// specialisation constants 0 to len(Spec)-1; constant 30 says Info.Broadcasts.
type Shader struct {
	Name               string
	SPIRV              []uint32
	Buffers, PushBytes int
	Texels             uint32 // bit i: binding i is a uniform texel buffer of R32G32B32A32_UINT, see Device.view
	Spec               []uint32
	Lanes              int  // the subgroup size, requested where it varies, of full subgroups; 0 for Info.SubgroupSize
	Statistics         bool // ask the driver to keep what Pipeline.Statistics returns
}

// Compile compiles a kernel.
func (d *Device) Compile(s Shader) (*Pipeline, error) {
	if s.Buffers > MaxBuffers || s.PushBytes > MaxPushBytes || len(s.SPIRV) == 0 {
		return nil, fmt.Errorf("vk: pipeline %s: %d buffers (at most %d), %d push bytes (at most %d), %d words of SPIR-V",
			s.Name, s.Buffers, MaxBuffers, s.PushBytes, MaxPushBytes, len(s.SPIRV))
	}
	s.Statistics = s.Statistics && d.statistics
	p := &Pipeline{Name: s.Name, device: d, buffers: s.Buffers, texels: s.Texels, pushBytes: s.PushBytes}
	if err := p.create(s); err != nil {
		p.destroy()
		return nil, fmt.Errorf("vk: pipeline %s: %w", s.Name, err)
	}
	if s.Statistics {
		p.statistics = p.readStatistics()
	}
	d.pipelines = append(d.pipelines, p)
	return p, nil
}

func (p *Pipeline) create(s Shader) error {
	d := p.device
	mod := vulkan.ShaderModuleCreateInfo{SType: vulkan.StructureTypeShaderModuleCreateInfo, CodeSize: uint(4 * len(s.SPIRV)), PCode: s.SPIRV}
	defer mod.Free()
	var module vulkan.ShaderModule
	if err := check(vulkan.CreateShaderModule(d.handle, &mod, nil, &module), "vkCreateShaderModule"); err != nil {
		return err
	}
	p.module = module
	if err := p.createLayout(); err != nil {
		return err
	}
	size, full := C.uint32_t(0), s.Lanes > 0
	if d.canRequireSize && d.minSubgroup < d.maxSubgroup {
		size, full = C.uint32_t(d.SubgroupSize), true
		if s.Lanes > 0 {
			size = C.uint32_t(s.Lanes)
		}
	}
	var first *C.uint32_t
	if len(s.Spec) > 0 {
		first = (*C.uint32_t)(unsafe.Pointer(&s.Spec[0]))
	}
	var handle unsafe.Pointer
	r := C.shim_create_pipeline(unsafe.Pointer(d.handle), unsafe.Pointer(p.module), unsafe.Pointer(p.layout), size, cbool(full), cbool(s.Statistics), C.uint32_t(len(s.Spec)), first, C.uint32_t(cbool(d.Broadcasts)), &handle)
	p.handle = vulkan.Pipeline(handle)
	return check(vulkan.Result(r), "vkCreateComputePipelines")
}

func (p *Pipeline) createLayout() error {
	d := p.device
	stage := vulkan.ShaderStageFlags(vulkan.ShaderStageComputeBit)
	bindings := make([]vulkan.DescriptorSetLayoutBinding, p.buffers)
	for i := range bindings {
		bindings[i] = vulkan.DescriptorSetLayoutBinding{Binding: uint32(i), DescriptorType: vulkan.DescriptorTypeStorageBuffer, DescriptorCount: 1, StageFlags: stage}
		if p.texels>>i&1 != 0 {
			bindings[i].DescriptorType = vulkan.DescriptorTypeUniformTexelBuffer
		}
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
