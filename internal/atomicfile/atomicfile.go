// Package atomicfile writes files and directories so that a reader, after a crash or a power loss at any moment, finds
// either the whole old content or the whole new content and never a mix.
//
// A file is written under a temporary name beside its place, synced, renamed over it, and its directory is synced.
// A directory is built under a scratch name, every file in it is synced, then it is renamed to its name. Where a directory
// stands there already it is first parked as ParkedDir says; RecoverDir puts it back if the process died in between.
//
// Every error that comes from the file system carries the exit code fail.Disk. Errors of the caller's write function
// are returned as they are. Whatever fails, the temporary files are removed and what stood there before is untouched.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vkdomino/internal/fail"
)

const (
	tmpSuffix  = ".tmp"
	dirScratch = ".vkdomino-new" // ends hidden names that no one else uses, since what stands there is removed
	dirParked  = ".vkdomino-old"

	diskHint = "free some space, or choose a folder on another file system"
	dirPerm  = 0o755
)

// ScratchDir returns the name under which a directory is built where nothing else is asked for.
func ScratchDir(final string) string { return hidden(final, dirScratch) }

// ParkedDir returns the name that a directory has while another takes its place.
func ParkedDir(final string) string { return hidden(final, dirParked) }

// FinalOf returns the directory that the parked directory of this name belongs to, false where it is none.
func FinalOf(parked string) (string, bool) {
	dir, name := filepath.Split(parked)
	base, ok := strings.CutSuffix(strings.TrimPrefix(name, "."), dirParked)
	final := filepath.Join(dir, base)
	return final, ok && ParkedDir(final) == filepath.Clean(parked)
}

func hidden(final, suffix string) string {
	final = filepath.Clean(final)
	return filepath.Join(filepath.Dir(final), "."+filepath.Base(final)+suffix)
}

// WriteFile writes data to path with permissions perm, atomically.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return Write(path, perm, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// CheckWritable creates a file in dir and removes it, so that a folder that does not take files is found before there is
// anything to write.
func CheckWritable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable.*"+tmpSuffix)
	if err != nil {
		return diskError(nameOf(dir, err))
	}
	return errors.Join(f.Close(), removeFile(f.Name()))
}

// CheckDir is CheckWritable for a directory that WriteDir is to make: the nearest parent that there is must take files.
func CheckDir(final string) error {
	parent := filepath.Dir(filepath.Clean(final))
	for !exists(parent) && parent != filepath.Dir(parent) {
		parent = filepath.Dir(parent)
	}
	return CheckWritable(parent)
}

// Write creates path with the bytes that write sends to its writer, atomically. An error of the writer itself comes back
// with the exit code fail.Disk, an error that write makes on its own account unchanged.
func Write(path string, perm fs.FileMode, write func(w io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"+tmpSuffix)
	if err != nil {
		return diskError(nameOf(path, err))
	}
	if err := fill(f, path, perm, write); err != nil {
		f.Close()
		return errors.Join(err, removeFile(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(diskError(err), removeFile(f.Name()))
	}
	return syncPath(filepath.Dir(path))
}

// nameOf is err of the temporary file of path with the name that the user knows.
func nameOf(path string, err error) error {
	var e *fs.PathError
	if !errors.As(err, &e) {
		return err
	}
	return &fs.PathError{Op: e.Op, Path: path, Err: e.Err}
}

// fill runs write on the temporary file f of path, then sets the permissions, syncs and closes it.
func fill(f *os.File, path string, perm fs.FileMode, write func(w io.Writer) error) error {
	w := &diskWriter{w: f, path: path}
	if err := write(w); err != nil {
		if w.err != nil && fail.CodeOf(err) == fail.Other {
			return fail.New(fail.Disk, diskHint, "%w", err)
		}
		return err
	}
	if w.err != nil {
		return diskError(w.err)
	}
	for _, step := range []func() error{func() error { return f.Chmod(perm) }, f.Sync, f.Close} {
		if err := step(); err != nil {
			return diskError(nameOf(path, err))
		}
	}
	return nil
}

// diskWriter remembers the first error of w, so that it can be told from an error of who writes.
type diskWriter struct {
	w    io.Writer
	path string // for its errors
	err  error
}

func (d *diskWriter) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.w.Write(p)
	if err != nil {
		d.err = nameOf(d.path, err)
	}
	return n, d.err
}

// WriteDir makes the directory final out of what write puts into a directory called scratch beside it, atomically. The
// parents of final are created as needed. What stands at scratch is removed; what stands at final is replaced, and removed
// once the new one is in place.
func WriteDir(final, scratch string, write func(dir string) error) error {
	final = filepath.Clean(final)
	if err := os.MkdirAll(filepath.Dir(final), dirPerm); err != nil {
		return diskError(err)
	}
	if err := RecoverDir(final, scratch); err != nil {
		return err
	}
	if err := os.Mkdir(scratch, dirPerm); err != nil {
		return diskError(err)
	}
	if err := buildDir(scratch, write); err != nil {
		return errors.Join(err, removeTree(scratch))
	}
	if err := swapDir(scratch, final); err != nil {
		return errors.Join(err, removeTree(scratch))
	}
	return nil
}

// RecoverDir undoes what a WriteDir of final that was cut off has left: it removes scratch, puts the parked directory back
// when final itself is missing, and removes it otherwise.
func RecoverDir(final, scratch string) error {
	if err := removeTree(scratch); err != nil {
		return err
	}
	parked := ParkedDir(final)
	if !exists(parked) {
		return nil
	}
	if exists(final) {
		return removeTree(parked)
	}
	if err := os.Rename(parked, final); err != nil {
		return diskError(err)
	}
	return syncPath(filepath.Dir(final))
}

// RemoveDir removes the directory dir in such a way that a crash leaves it whole or leaves only scratch, which RecoverDir
// clears away.
func RemoveDir(dir, scratch string) error {
	if err := removeTree(scratch); err != nil {
		return err
	}
	if err := os.Rename(dir, scratch); err != nil {
		return diskError(err)
	}
	if err := syncPath(filepath.Dir(filepath.Clean(dir))); err != nil {
		return err
	}
	return removeTree(scratch)
}

// buildDir runs write on tmp and syncs all that it made.
func buildDir(tmp string, write func(dir string) error) error {
	if err := write(tmp); err != nil {
		return err
	}
	return filepath.WalkDir(tmp, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return diskError(err)
		}
		return syncPath(path)
	})
}

// swapDir puts tmp in the place of final.
func swapDir(tmp, final string) error {
	parent, old := filepath.Dir(final), ParkedDir(final)
	replace := exists(final)
	if replace {
		if err := os.Rename(final, old); err != nil {
			return diskError(err)
		}
	}
	if err := os.Rename(tmp, final); err != nil {
		if replace {
			err = errors.Join(err, os.Rename(old, final))
		}
		return diskError(err)
	}
	if err := syncPath(parent); err != nil {
		return err
	}
	return removeTree(old)
}

// syncPath flushes a file or the entries of a directory to the disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return diskError(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !syncUnsupported(err) {
		return diskError(err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError(err)
	}
	return nil
}

func removeTree(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return diskError(err)
	}
	return nil
}

func diskError(err error) error {
	return fail.New(fail.Disk, diskHint, "atomicfile: %w", fmt.Errorf("write: %w", err))
}
