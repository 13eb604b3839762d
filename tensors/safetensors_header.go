package tensors

import (
	"bytes"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Limits of a header. An 8B model in one file has 400 tensors and a header of 50 KB; without limits a header of 100 MB
// makes the JSON decoder allocate gigabytes.
const (
	maxHeaderBytes = 16 << 20
	maxTensors     = 1 << 16
	maxRank        = 16
	maxMetaEntries = 1 << 14
	maxErrorText   = 300
	maxNameText    = 120

	metadataKey = "__metadata__"
)

// tensorInfo is what a header says about one tensor. Offsets count from the end of the header.
type tensorInfo struct {
	dtype      DType
	shape      []int
	begin, end int
}

// header is the checked content of a safetensors header.
type header struct {
	meta    map[string]string
	tensors map[string]tensorInfo
}

// parseHeader reads the JSON text of a header whose file holds dataLen bytes after it. It accepts no more than the
// format allows: an object of tensors with exactly dtype, shape and data_offsets, no name twice, valid UTF-8, naturals,
// offsets inside the data, and a size that dtype and shape give. That the tensors fill the data without gap or overlap
// is left to the library.
func parseHeader(text []byte, dataLen int) (*header, error) {
	if len(text) == 0 || text[0] != '{' {
		return nil, errors.New("header: want JSON that begins with '{'")
	}
	p := &headerParser{
		dec:     jsontext.NewDecoder(bytes.NewReader(text)),
		dataLen: dataLen,
		out:     header{meta: map[string]string{}, tensors: map[string]tensorInfo{}},
	}
	if err := p.object("header", p.member); err != nil {
		return nil, err
	}
	if _, err := p.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("header: text after the closing brace")
	}
	return &p.out, nil
}

// headerParser walks a header token by token, so that nothing is built from a part that has not been checked.
type headerParser struct {
	dec     *jsontext.Decoder
	dataLen int
	out     header
}

// object reads a JSON object and calls member, which reads the value, for each name.
func (p *headerParser) object(what string, member func(name string) error) error {
	if err := p.open(what, '{', "an object"); err != nil {
		return err
	}
	for p.dec.PeekKind() != '}' {
		tok, err := p.dec.ReadToken()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := member(tok.String()); err != nil {
			return err
		}
	}
	return p.close(what)
}

// open reads the token that begins an object or an array.
func (p *headerParser) open(what string, kind jsontext.Kind, want string) error {
	tok, err := p.dec.ReadToken()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if tok.Kind() != kind {
		return fmt.Errorf("%s: want %s, got %s", what, want, clip(tok.String()))
	}
	return nil
}

// close reads the token that ends an object or an array.
func (p *headerParser) close(what string) error {
	if _, err := p.dec.ReadToken(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// member reads the value of one name of the header.
func (p *headerParser) member(name string) error {
	if name == metadataKey {
		return p.metadata()
	}
	if len(p.out.tensors) == maxTensors {
		return fmt.Errorf("header: want at most %d tensors, got more", maxTensors)
	}
	what := fmt.Sprintf("tensor %q", clip(name))
	info, err := p.tensor(what)
	if err != nil {
		return err
	}
	p.out.tensors[name] = info
	return nil
}

func (p *headerParser) metadata() error {
	if p.dec.PeekKind() == 'n' {
		return p.close(metadataKey)
	}
	return p.object(metadataKey, func(name string) error {
		if len(p.out.meta) == maxMetaEntries {
			return fmt.Errorf("%s: want at most %d entries, got more", metadataKey, maxMetaEntries)
		}
		value, err := p.text(metadataKey + " " + strconv.Quote(clip(name)))
		p.out.meta[name] = value
		return err
	})
}

func (p *headerParser) text(what string) (string, error) {
	tok, err := p.dec.ReadToken()
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if tok.Kind() != '"' {
		return "", fmt.Errorf("%s: want a string, got %s", what, clip(tok.String()))
	}
	return tok.String(), nil
}

// tensor reads one tensor's object and checks it by itself.
func (p *headerParser) tensor(what string) (tensorInfo, error) {
	var info tensorInfo
	var dtype string
	var offsets []int
	seen := 0
	err := p.object(what, func(key string) (err error) {
		seen++
		switch key {
		case "dtype":
			dtype, err = p.text(what + " dtype")
		case "shape":
			info.shape, err = p.naturals(what+" shape", maxRank)
		case "data_offsets":
			offsets, err = p.naturals(what+" data_offsets", 2)
		default:
			err = fmt.Errorf("%s: unknown key %q", what, clip(key))
		}
		return err
	})
	if err != nil {
		return info, err
	}
	if seen != 3 || len(offsets) != 2 {
		return info, fmt.Errorf("%s: want dtype, shape and two data_offsets", what)
	}
	if isFP8(dtype) {
		return info, fmt.Errorf("%s: dtype %s: %w", what, clip(dtype), errFP8)
	}
	if info.dtype, err = ParseDType(dtype); err != nil {
		return info, fmt.Errorf("%s: %w", what, err)
	}
	info.begin, info.end = offsets[0], offsets[1]
	return info, p.checkSize(what, info)
}

// checkSize compares the bytes that dtype and shape give with those between the offsets.
func (p *headerParser) checkSize(what string, info tensorInfo) error {
	if info.begin > info.end || info.end > p.dataLen {
		return fmt.Errorf("%s data_offsets: want ascending and within the file's %d data bytes, got [%d, %d]",
			what, p.dataLen, info.begin, info.end)
	}
	n, ok := byteLen(info.dtype, info.shape)
	if !ok || n != info.end-info.begin {
		return fmt.Errorf("%s: %d data bytes do not hold %s %v", what, info.end-info.begin, info.dtype, info.shape)
	}
	return nil
}

// naturals reads an array of at most limit natural numbers.
func (p *headerParser) naturals(what string, limit int) ([]int, error) {
	if err := p.open(what, '[', "an array"); err != nil {
		return nil, err
	}
	list := []int{}
	for p.dec.PeekKind() != ']' {
		tok, err := p.dec.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		n, err := strconv.ParseUint(tok.String(), 10, strconv.IntSize-1)
		if tok.Kind() != '0' || err != nil {
			return nil, fmt.Errorf("%s: want natural numbers, got %s", what, clip(tok.String()))
		}
		if len(list) == limit {
			return nil, fmt.Errorf("%s: want at most %d numbers, got more", what, limit)
		}
		list = append(list, int(n))
	}
	return list, p.close(what)
}

// errFP8 is in the chain of a header error that names an 8-bit or smaller float type.
var errFP8 = errors.New("FP8 and smaller floats are not supported")

func isFP8(dtype string) bool {
	for _, prefix := range []string{"F8_", "F6_", "F4"} {
		if strings.HasPrefix(dtype, prefix) {
			return true
		}
	}
	return false
}

// clip shortens text that a file brings, so that an error stays one line on a terminal.
func clip(s string) string { return clipTo(s, maxNameText) }

func clipTo(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
