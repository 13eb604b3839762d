//go:build linux || darwin

package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncUnsupported reports that the file system knows no fsync for this kind of file; some network and FUSE file systems
// answer so for directories.
func syncUnsupported(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP)
}

// FreeBytes returns how many bytes an ordinary user may still write on the file system that holds dir.
func FreeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, diskError(&os.PathError{Op: "statfs", Path: dir, Err: err})
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// TryLock takes an exclusive advisory lock on f, which the kernel releases when the process ends. It returns false
// where another process holds it.
func TryLock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return true, nil
}
