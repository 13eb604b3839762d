//go:build unix

// Package setup_test checks setup.sh against a system that lacks something, with
// a stand-in for apt-get.
package setup_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const manifest = `{"file_format_version": "1.0.0", "ICD": {"library_path": "LIBRARY", "api_version": "1.3.0"}}`

// system is a machine whose Vulkan driver is what drivers holds and whose apt-get is a script.
type system struct {
	dir, drivers, log string
	env               []string
}

// newSystem makes a system without a driver. apt is what its apt-get does after it
// has written its arguments down.
func newSystem(t *testing.T, apt string) *system {
	t.Helper()
	dir, err := os.MkdirTemp("", "setup") // t.TempDir is closed to other users
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	script, err := os.ReadFile("setup.sh")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "setup.sh"), script, 0o755))
	s := &system{dir: dir, drivers: filepath.Join(dir, "icd.d"), log: filepath.Join(dir, "apt.log")}
	bin := filepath.Join(dir, "bin")
	for _, d := range []string{s.drivers, bin} {
		require.NoError(t, os.Mkdir(d, 0o755))
	}
	s.tool(t, "apt-get", "echo \"$@\" >>"+s.log+"\n"+apt)
	s.tool(t, "go", "echo go1.27.4") // the script only asks for its version
	s.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "VK_DRIVER_FILES=" + s.drivers}
	return s
}

func (s *system) tool(t *testing.T, name, body string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "bin", name), []byte("#!/bin/sh\n"+body+"\n"), 0o755))
}

// driver writes the manifest of a driver with a library path.
func (s *system) driver(t *testing.T, library string) {
	t.Helper()
	text := strings.Replace(manifest, "LIBRARY", library, 1)
	require.NoError(t, os.WriteFile(filepath.Join(s.drivers, "some_icd.json"), []byte(text), 0o644))
}

// run runs setup.sh, as root or as an ordinary user, and returns its exit status and output.
func (s *system) run(t *testing.T, root bool, args ...string) (int, string) {
	t.Helper()
	const nobody = 65534
	cmd := exec.Command("bash", append([]string{filepath.Join(s.dir, "setup.sh")}, args...)...)
	cmd.Dir, cmd.Env = s.dir, s.env
	if !root && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); !exited {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (s *system) aptCalls(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.log)
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return string(text)
}

func TestNothingMissingIsSilent(t *testing.T) {
	s := newSystem(t, "exit 1")
	s.driver(t, "/bin/sh") // any file that is there
	for range 2 {
		status, out := s.run(t, false, "run")
		require.Equal(t, 0, status, out)
		require.Empty(t, out)
	}
	require.Empty(t, s.aptCalls(t))
}

func TestOrdinaryUserIsToldTheCommand(t *testing.T) {
	drivers := map[string]string{
		"no manifest":               "",
		"library missing":           "/nowhere/libvulkan_x.so",
		"unknown to the linker":     "libvulkan_of_nobody.so",
		"beside the manifest":       "./libvulkan_of_nobody.so",
		"NVIDIA's without a device": "/nowhere/libGLX_nvidia.so.0",
	}
	for name, library := range drivers {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, "exit 1")
			if library != "" {
				s.driver(t, library)
			}
			status, out := s.run(t, false, "run")
			require.Equal(t, 1, status)
			require.Contains(t, out, "sudo apt-get update && sudo apt-get install -y --no-install-recommends mesa-vulkan-drivers\n")
			require.Empty(t, s.aptCalls(t))
		})
	}
}

func TestWhatIsMissingByMode(t *testing.T) {
	s := newSystem(t, "exit 1")
	s.driver(t, "/bin/sh")
	s.env = append(s.env, "VK_LAYER_PATH="+s.drivers, "CC=no-such-compiler")
	_, out := s.run(t, false, "run")
	require.Contains(t, out, "missing: gcc libc6-dev; run this")
	_, out = s.run(t, false, "test")
	require.Contains(t, out, "missing: gcc libc6-dev vulkan-validationlayers; run this")
}

func TestOldOrMissingGo(t *testing.T) {
	for version, want := range map[string]string{"go1.19.8": "got go1.19.8", "": "found none"} {
		s := newSystem(t, "exit 1")
		s.tool(t, "go", "echo "+version)
		status, out := s.run(t, false, "run")
		require.Equal(t, 1, status)
		require.Contains(t, out, "want 1.21 or newer")
		require.Contains(t, out, want)
	}
}

func TestUnknownMode(t *testing.T) {
	status, out := newSystem(t, "").run(t, false, "everything")
	require.Equal(t, 2, status)
	require.Contains(t, out, "want run or test, got 'everything'")
}

// TestRootInstalls needs root; as another user it checks the message instead.
func TestRootInstalls(t *testing.T) {
	if os.Geteuid() != 0 {
		status, out := newSystem(t, "exit 1").run(t, true, "run")
		require.Equal(t, 1, status)
		require.Contains(t, out, "sudo apt-get")
		return
	}
	s := newSystem(t, "")
	installed := strings.Replace(manifest, "LIBRARY", "/bin/sh", 1)
	s.tool(t, "apt-get", "echo \"$@\" >>"+s.log+"\n[ \"$1\" = update ] || echo '"+installed+"' >"+s.drivers+"/lvp.json")
	status, out := s.run(t, true, "run")
	require.Equal(t, 0, status, out)
	require.Equal(t, "update -q\ninstall -y --no-install-recommends mesa-vulkan-drivers\n", s.aptCalls(t))

	status, out = s.run(t, true, "run")
	require.Equal(t, 0, status)
	require.Empty(t, out, "the second time there is nothing to do")

	useless := newSystem(t, "")
	status, out = useless.run(t, true, "run")
	require.Equal(t, 1, status)
	require.Contains(t, out, "still missing after the installation: mesa-vulkan-drivers")
}
