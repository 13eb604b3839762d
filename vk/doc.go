// Package vk is Vulkan compute and nothing else: a device, buffers, pipelines
// and a recorder. It knows no tensor.
//
// vulkan-go/vulkan gives the types, constants, instance, device, memory and
// buffers. The cgo shim beside it (shim.c) does what that binding lacks or
// cannot do safely: it ends at Vulkan 1.1.88, and each of its calls that takes
// a slice of structures frees the C copy from a finalizer that may run during
// the call. So enumeration, pipeline creation, submission, waiting, recording
// and validation messages go through the shim. One instance is live at a time,
// because vulkan-go keeps its function pointers in process globals.
package vk
