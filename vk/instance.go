package vk

/*
#cgo linux LDFLAGS: -ldl
#include "shim.h"
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/cgo"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"

	"vkdomino/internal/fail"
)

const (
	validationLayer  = "VK_LAYER_KHRONOS_validation"
	extDebugUtils    = "VK_EXT_debug_utils"
	extValidation    = "VK_EXT_validation_features"
	extPortability   = "VK_KHR_portability_enumeration"
	flagPortability  = 1 // VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR
	extPushDesc      = "VK_KHR_push_descriptor"
	extSizeControl   = "VK_EXT_subgroup_size_control"
	extDriverProps   = "VK_KHR_driver_properties"
	extBudget        = "VK_EXT_memory_budget"
	extPortableChild = "VK_KHR_portability_subset"
	installHint      = "install a GPU driver with Vulkan, or the CPU driver lavapipe (Debian, Ubuntu: libvulkan1 mesa-vulkan-drivers)"
)

// loaderNames are the names under which the Vulkan loader is found.
func loaderNames() []string {
	if runtime.GOOS == "darwin" {
		return []string{"libvulkan.1.dylib", "libvulkan.dylib", "/opt/homebrew/lib/libvulkan.1.dylib", "/usr/local/lib/libvulkan.1.dylib", "libMoltenVK.dylib"}
	}
	return []string{"libvulkan.so.1", "libvulkan.so"}
}

// messages collects validation messages of error severity; the callback may
// come from any thread.
type messages struct {
	mu   sync.Mutex
	text []string
}

func (m *messages) add(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text = append(m.text, s)
}

func (m *messages) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.text
	m.text = nil
	return t
}

//export vkdominoMessage
func vkdominoMessage(user C.uintptr_t, id, text *C.char) {
	cgo.Handle(user).Value().(*messages).add(C.GoString(id) + ": " + C.GoString(text))
}

// instance is the live Vulkan instance with its physical devices.
type instance struct {
	handle    vulkan.Instance
	messenger unsafe.Pointer
	chain     unsafe.Pointer // C memory: what vkCreateInstance was asked for beyond core
	messages  *messages
	user      cgo.Handle // of messages, for the callback
	physical  []vulkan.PhysicalDevice
}

// live says that there is an instance: vulkan-go has room for one (doc.go).
var live atomic.Bool

var loadOnce = sync.OnceValue(func() error {
	for _, name := range loaderNames() {
		c := C.CString(name)
		p := C.shim_open_loader(c)
		C.free(unsafe.Pointer(c))
		if p == nil {
			continue
		}
		vulkan.SetGetInstanceProcAddr(p)
		if err := vulkan.Init(); err != nil {
			return fmt.Errorf("vk: loader %s: %w", name, err)
		}
		if C.shim_load_global(p) == 0 {
			return fmt.Errorf("vk: loader %s: entry points missing", name)
		}
		return nil
	}
	return fail.New(fail.Other, installHint, "vk: the Vulkan loader is not installed (tried %s): %w",
		strings.Join(loaderNames(), ", "), ErrNoDevice)
})

func hasInstanceExtension(layer, name string) bool {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	var l *C.char
	if layer != "" {
		l = C.CString(layer)
		defer C.free(unsafe.Pointer(l))
	}
	return C.shim_has_instance_extension(l, n) != 0
}

func hasLayer(name string) bool {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	return C.shim_has_layer(n) != 0
}

// ValidationAvailable says whether the Khronos validation layer is installed.
func ValidationAvailable() bool { return loadOnce() == nil && hasLayer(validationLayer) }

// openInstance creates the instance; with validation it enables the Khronos
// layer with its synchronisation checks, and collects what it says.
func openInstance(validation bool) (*instance, error) {
	if err := loadOnce(); err != nil {
		return nil, err
	}
	if validation && !hasLayer(validationLayer) {
		return nil, fail.New(fail.Other, "install vulkan-validationlayers", "vk: validation asked for, but %s is not installed", validationLayer)
	}
	if err := separateCache(); err != nil { // without a folder for the width that the user chose, nothing is kept
		os.Setenv("MESA_SHADER_CACHE_DISABLE", "true")
	}
	if !live.CompareAndSwap(false, true) {
		return nil, errors.New("vk: a device is open already: a process has one at a time")
	}
	in := &instance{messages: &messages{}}
	in.user = cgo.NewHandle(in.messages)
	err := in.create(validation)
	if err == nil {
		err = in.load(validation)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *instance) create(validation bool) error {
	info := vulkan.InstanceCreateInfo{SType: vulkan.StructureTypeInstanceCreateInfo,
		PApplicationInfo: &vulkan.ApplicationInfo{SType: vulkan.StructureTypeApplicationInfo,
			PApplicationName: "vkdomino\x00", PEngineName: "vkdomino\x00", ApiVersion: vulkan.MakeVersion(1, 3, 0)}}
	if validation {
		info.PpEnabledLayerNames = []string{validationLayer + "\x00"}
		info.PpEnabledExtensionNames = append(info.PpEnabledExtensionNames, extDebugUtils+"\x00", extValidation+"\x00")
		in.chain = C.shim_validation_chain(1, C.uintptr_t(in.user))
		info.PNext = in.chain
	}
	if hasInstanceExtension("", extPortability) {
		info.PpEnabledExtensionNames = append(info.PpEnabledExtensionNames, extPortability+"\x00")
		info.Flags = flagPortability
	}
	info.EnabledLayerCount = uint32(len(info.PpEnabledLayerNames))
	info.EnabledExtensionCount = uint32(len(info.PpEnabledExtensionNames))
	var handle vulkan.Instance
	r := vulkan.CreateInstance(&info, nil, &handle)
	info.Free()
	if r == vulkan.ErrorIncompatibleDriver {
		return fail.New(fail.Other, installHint, "vk: no Vulkan driver is installed: %w", ErrNoDevice)
	}
	in.handle = handle
	return check(r, "vkCreateInstance")
}

func (in *instance) load(validation bool) error {
	if err := vulkan.InitInstance(in.handle); err != nil {
		return fmt.Errorf("vk: instance: %w", err)
	}
	if C.shim_load_instance(unsafe.Pointer(in.handle)) == 0 {
		return fail.New(fail.Other, "update the Vulkan driver", "vk: instance: Vulkan 1.1 entry points are missing")
	}
	if validation {
		var m unsafe.Pointer
		if err := check(vulkan.Result(C.shim_create_messenger(unsafe.Pointer(in.handle), C.uintptr_t(in.user), &m)), "vkCreateDebugUtilsMessengerEXT"); err != nil {
			return err
		}
		in.messenger = m
	}
	var n uint32
	if err := check(vulkan.EnumeratePhysicalDevices(in.handle, &n, nil), "vkEnumeratePhysicalDevices"); err != nil {
		return err
	}
	if n == 0 {
		return fail.New(fail.Other, installHint, "vk: %w", ErrNoDevice)
	}
	in.physical = make([]vulkan.PhysicalDevice, n)
	return check(vulkan.EnumeratePhysicalDevices(in.handle, &n, in.physical), "vkEnumeratePhysicalDevices")
}

// close destroys the instance and returns the messages not yet taken.
func (in *instance) close() []string {
	if in.messenger != nil {
		C.shim_destroy_messenger(unsafe.Pointer(in.handle), in.messenger)
	}
	if in.handle != nil {
		vulkan.DestroyInstance(in.handle, nil)
	}
	C.free(in.chain)
	in.user.Delete()
	live.Store(false)
	return in.messages.take()
}
