package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxManifestBytes is far above the 500 bytes that a manifest has.
const maxManifestBytes = 1 << 16

// manifest is manifest.json. Its files stand in the order of payload.
type manifest struct {
	FormatVersion int         `json:"format_version"`
	Files         []fileEntry `json:"files"`
}

type fileEntry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// payload lists the files that a manifest covers.
func payload() []string { return []string{ModelFile, OptimizerFile, StateFile} }

// encode returns the one way in which a manifest is written. Whatever differs from it, be it a space, was changed later.
func (m *manifest) encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

// verify checks every file of the checkpoint dir against its manifest. It ends when ctx does.
func verify(ctx context.Context, dir string) error {
	m, err := readManifest(filepath.Join(dir, ManifestFile))
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := verifyFile(ctx, dir, f); err != nil {
			return err
		}
	}
	return nil
}

func readManifest(path string) (*manifest, error) {
	text, err := readCapped(path, maxManifestBytes)
	if err != nil {
		return nil, corrupt("%s: %w", ManifestFile, err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, corrupt("%s: %w", ManifestFile, err)
	}
	if m.FormatVersion != Version {
		return nil, corrupt("%s: format version: want %d, got %d", ManifestFile, Version, m.FormatVersion)
	}
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Name)
	}
	if want := payload(); fmt.Sprint(names) != fmt.Sprint(want) {
		return nil, corrupt("%s: files: want %q, got %q", ManifestFile, want, names)
	}
	if canonical, err := m.encode(); err != nil || !bytes.Equal(canonical, text) {
		return nil, corrupt("%s: was changed after it was written", ManifestFile)
	}
	return &m, nil
}

// readCapped reads a file that must be regular and have at most limit bytes.
func readCapped(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("want at most %d bytes", limit)
	}
	return text, err
}

func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, missing(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return os.Open(path)
}

// missing leaves the path out of a message that names the file already.
func missing(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func verifyFile(ctx context.Context, dir string, want fileEntry) error {
	f, err := openRegular(filepath.Join(dir, want.Name))
	if err != nil {
		return corrupt("%s: %w", want.Name, err)
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, stoppable{ctx, f})
	if err != nil {
		return corrupt("%s: %w", want.Name, missing(err))
	}
	if size != want.Size {
		return corrupt("%s: want %d bytes, got %d", want.Name, want.Size, size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.SHA256 {
		return corrupt("%s: SHA-256: want %s, got %s", want.Name, want.SHA256, got)
	}
	return nil
}

// stoppable is a file whose reading ends with ctx.
type stoppable struct {
	ctx  context.Context
	from io.Reader
}

func (s stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.from.Read(p)
}
