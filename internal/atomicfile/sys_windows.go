package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// syncUnsupported reports an error that flushing a directory handle, opened for reading alone, always gives on Windows.
func syncUnsupported(err error) bool {
	return errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_INVALID_HANDLE)
}

// FreeBytes returns how many bytes an ordinary user may still write on the file system that holds dir.
func FreeBytes(dir string) (uint64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, diskError(err)
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, diskError(&os.PathError{Op: "GetDiskFreeSpaceEx", Path: dir, Err: err})
	}
	return free, nil
}

// TryLock takes an exclusive lock on f, which the system releases when the process ends. It returns false where another
// process holds it. The locked byte lies far behind the content, so that others can still read who holds it.
func TryLock(f *os.File) (bool, error) {
	const lockOffsetHigh = 1 << 30
	over := windows.Overlapped{OffsetHigh: lockOffsetHigh}
	flags := uint32(windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY)
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &over)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "LockFileEx", Path: f.Name(), Err: err}
	}
	return true, nil
}
