package vk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/cpu"
)

// lavapipe, Mesa's driver for CPUs, compiles kernels for vectors of 256 bits unless the environment says another width, which
// it reads when an instance opens.
const (
	widthVariable = "LP_NATIVE_VECTOR_WIDTH"
	cacheVariable = "MESA_SHADER_CACHE_DIR"
	usualWidth    = "256"
	fullWidth     = "512"
)

// describeLavapipe says which of equal ways are cheap on a CPU's driver, by measurement (docs/tried.md). In subgroups of 16
// texels always are. In those of 8 they are before Mesa 25, which returns them in registers; NN and TN products gain by
// them until Mesa 26. From Mesa 25 on a shuffle in a subgroup of 16 is a loop over the lanes; before, a broadcast is one.
func (i *Info) describeLavapipe() {
	wide := i.SubgroupSize > 8 && mesaFrom(i.DriverInfo, 25)
	i.FastestTexels = i.CPU && (mesaBefore(i.DriverInfo, 25) || wide)
	i.FastTexels = i.CPU && (mesaBefore(i.DriverInfo, 26) || wide)
	i.Broadcasts = i.CPU && wide
}

// widen asks lavapipe for vectors of 512 bits, from Mesa 25 on, where the CPU has them and nobody chose a width. It reports
// whether the next instance will have them.
func widen(i Info) bool {
	x := &cpu.X86
	if !strings.HasPrefix(i.Name, "llvmpipe") || !mesaFrom(i.DriverInfo, 25) || os.Getenv(widthVariable) != "" ||
		!(x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL) {
		return false
	}
	if os.Setenv(widthVariable, fullWidth) != nil {
		return false
	}
	if separateCache() != nil { // without a folder of its own it would run what was compiled for another width
		os.Unsetenv(widthVariable)
		return false
	}
	return true
}

// separateCache gives kernels of an unusual width a folder of their own in the driver's cache: what the driver keeps of its
// functions for texels is found again by any width, and returns wrong values to another one (seen on Mesa 25.0.7).
func separateCache() error {
	width := os.Getenv(widthVariable)
	if width == "" || width == usualWidth {
		return nil
	}
	folder := os.Getenv(cacheVariable)
	if filepath.Base(folder) == cacheName(width) {
		return nil
	}
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		folder = filepath.Join(cache, "vkdomino")
	}
	folder = filepath.Join(folder, cacheName(width))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return os.Setenv(cacheVariable, folder)
}

func cacheName(width string) string { return "lavapipe-" + width }

// mesaBefore reports whether a driver's text, as "Mesa 22.3.6 (LLVM 15.0.6)", names a Mesa older than a major version.
func mesaBefore(text string, major int) bool {
	have, ok := mesaMajor(text)
	return ok && have < major
}

// mesaFrom reports whether it names that version or a newer one.
func mesaFrom(text string, major int) bool {
	have, ok := mesaMajor(text)
	return ok && have >= major
}

func mesaMajor(text string) (major int, ok bool) {
	n, err := fmt.Sscanf(text, "Mesa %d.", &major)
	return major, err == nil && n == 1
}
