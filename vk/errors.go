package vk

import (
	"errors"
	"fmt"

	vulkan "github.com/vulkan-go/vulkan"

	"vkdomino/internal/fail"
)

// Sentinels for errors.Is.
var (
	ErrNoDevice          = errors.New("no usable Vulkan device")
	ErrDeviceLost        = errors.New("the Vulkan device was lost")
	ErrOutOfDeviceMemory = errors.New("out of device memory")
	ErrTimeout           = errors.New("timed out")
)

// check turns a Vulkan result into an error that names the call, with the exit
// code that belongs to it; nil for VK_SUCCESS.
func check(r vulkan.Result, call string) error {
	switch r {
	case vulkan.Success:
		return nil
	case vulkan.ErrorDeviceLost:
		return fail.New(fail.DeviceLost, "the last checkpoint is untouched; run the same command again",
			"vk: %s: %w", call, ErrDeviceLost)
	case vulkan.ErrorOutOfDeviceMemory, vulkan.ErrorOutOfHostMemory:
		return fail.New(fail.Memory, "run `vkdomino doctor RECIPE` to see the memory plan and what to lower",
			"vk: %s: %w", call, ErrOutOfDeviceMemory)
	case vulkan.Timeout:
		return fmt.Errorf("vk: %s: %w", call, ErrTimeout)
	}
	return fmt.Errorf("vk: %s: result %d", call, int32(r))
}
