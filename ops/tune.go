package ops

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vkdomino/internal/atomicfile"
	"vkdomino/shaders"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// Tuning is what was measured on one device: for each class of products the fastest of the kernels that it has for them.
// A class is a layout, sizes rounded up to powers of two, the result's dtype, that of operands that are not bf16, and the tier.
//
// Kernels of T1 all give the same bits, and so do those of T2: there a Tuning decides on time alone. Kernels of T3 need not: in T3
// results are equal from run to run as long as the Tuning is.
type Tuning struct {
	path    string // "": it is not kept
	content tuningFile
	fixed   map[string]string          // kernels by class that count before those of the file, and are not written
	kernels map[kernelKey]*vk.Pipeline // compiled for measurements, so that the driver tells of them
	broken  map[kernelKey]error        // those that did not compile
	err     error
}

// tuningFile is the file of a Tuning.
type tuningFile struct {
	Version int                   `json:"version"`
	Device  string                `json:"device"`  // vk.Info.Identity
	Name    string                `json:"name"`    // of the device, for readers
	Shaders string                `json:"shaders"` // digest of the kernels
	Kernels map[string]tunedEntry `json:"kernels"` // by class
	Proofs  map[string]string     `json:"proofs"`  // by tier, what ProveTier found wrong; "" for nothing
}

// tunedEntry is the choice for a class, with what was measured.
type tunedEntry struct {
	Kernel  string             `json:"kernel"`
	Clock   string             `json:"clock,omitempty"`        // that was timed with: the device's timestamps, or wall
	Micros  map[string]float64 `json:"microseconds,omitempty"` // of each kernel that was timed
	Spilled []string           `json:"spilled,omitempty"`      // kernels refused because the driver told of spilled registers
}

const tuningVersion = 3

// NewTuning returns a Tuning without measurements that is kept in no file.
func NewTuning(d *vk.Device) (*Tuning, error) {
	digest, err := shaders.Digest("gemm_t")
	if err != nil {
		return nil, err
	}
	return &Tuning{content: tuningFile{tuningVersion, d.Identity, d.Name, digest, map[string]tunedEntry{}, map[string]string{}},
		fixed: map[string]string{}, kernels: map[kernelKey]*vk.Pipeline{}, broken: map[kernelKey]error{}}, nil
}

// OpenTuning reads the Tuning of a device from a folder; later measurements are written there at once. A file
// of other kernels counts as none. Of a file that cannot be read warning says so, and it counts as none.
func OpenTuning(d *vk.Device, folder string) (t *Tuning, warning, err error) {
	if t, err = NewTuning(d); err != nil {
		return nil, nil, err
	}
	name := sha256.Sum256([]byte(d.Identity))
	t.path = filepath.Join(folder, "tuning-"+hex.EncodeToString(name[:8])+".json")
	text, err := os.ReadFile(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil, nil
	}
	var have tuningFile
	if err == nil {
		err = json.Unmarshal(text, &have)
	}
	if err != nil {
		return t, fmt.Errorf("ops: tuning: %s is left aside and measured anew: %w", t.path, err), nil
	}
	if have.Version == tuningVersion && have.Device == t.content.Device && have.Shaders == t.content.Shaders && have.Kernels != nil {
		t.content.Kernels = have.Kernels
		maps.Copy(t.content.Proofs, have.Proofs)
	}
	return t, nil, nil
}

// Err is the first error of writing the file; measurements that were not written last as long as the process.
func (t *Tuning) Err() error { return t.err }

// Kernels lists the choices: the name of a kernel for each class.
func (t *Tuning) Kernels() map[string]string {
	list := map[string]string{}
	for class, e := range t.content.Kernels {
		list[class] = e.Kernel
	}
	maps.Copy(list, t.fixed)
	return list
}

// Fix makes choices that count before those measured: a run that goes on has those it began with. The file keeps its own,
// and what is measured later is written there as before.
func (t *Tuning) Fix(kernels map[string]string) { maps.Copy(t.fixed, kernels) }

// choice is the kernel of a class among those of a list.
func (t *Tuning) choice(class string, list []gemmTile) (gemmTile, bool) {
	named := func(name string) (gemmTile, bool) {
		i := slices.IndexFunc(list, func(tile gemmTile) bool { return tile.name == name })
		if name == "" || i < 0 {
			return gemmTile{}, false
		}
		return list[i], true
	}
	if tile, ok := named(t.fixed[class]); ok {
		return tile, true
	}
	delete(t.fixed, class) // a kernel that there is not
	return named(t.content.Kernels[class].Kernel)
}

func (t *Tuning) set(class string, e tunedEntry) {
	t.content.Kernels[class] = e
	t.write()
}

// proof is what setProof noted for a tier; nothing is known without a Tuning.
func (t *Tuning) proof(tier vk.Tier) (reason string, known bool) {
	if t == nil {
		return "", false
	}
	reason, known = t.content.Proofs[tier.String()]
	return reason, known
}

func (t *Tuning) setProof(tier vk.Tier, reason string) {
	if t != nil {
		t.content.Proofs[tier.String()] = reason
		t.write()
	}
}

// write keeps the file.
func (t *Tuning) write() {
	if t.path == "" {
		return
	}
	text, err := json.MarshalIndent(t.content, "", " ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(t.path), 0o755)
	}
	if err == nil {
		err = atomicfile.WriteFile(t.path, append(text, '\n'), 0o600)
	}
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("ops: tuning: %w", err)
	}
}

// Tune makes products run on the kernels of t, and measures those of a class that t lacks when they are first
// recorded; nil for the usual kernels. Products with RowStable, and all on CPU devices, keep to those.
func (c *Context) Tune(t *Tuning) { c.tuning = t }

// Tuning is what Tune was given.
func (c *Context) Tuning() *Tuning { return c.tuning }

func upToPower(n int) int { return 1 << bits.Len(uint(n-1)) }

// class names the class of a product, as far as a tier's own kernels are concerned.
func (g gemm) class(tier vk.Tier) string {
	text := fmt.Sprintf("%s %dx%dx%d %s", layoutNames[g.layout], upToPower(g.m), upToPower(g.n), upToPower(g.k), storage(g.C.Tensor))
	if g.add {
		text += " add"
	}
	if g.A.DType != tensors.BF16 {
		text += " of " + storage(g.A.Tensor)
	}
	if tier < vk.T3 { // which has the kernels of T2 too
		text += fmt.Sprintf(" in T%d", tier)
	}
	return text
}

// tuned chooses the kernel of a product by the Context's Tuning.
func (c *Context) tuned(g gemm, list []gemmTile) gemmTile {
	class := g.class(c.Device.Tier())
	if t, ok := c.tuning.choice(class, list); ok {
		return t
	}
	best, e := c.usualTile(g, list), tunedEntry{}
	if err := c.Device.WithClock(func() { best, e = c.fastest(g, list, best) }); err != nil {
		c.Fail(fmt.Errorf("ops: tuning: %w", err))
	}
	if len(e.Micros) > 0 {
		c.tuning.set(class, e)
	} else { // there is no memory for a result, or every kernel spills: another run may try again
		c.tuning.fixed[class] = best.name
	}
	return best
}

// fastest measures the kernels of a product; usual where none can be measured.
func (c *Context) fastest(g gemm, list []gemmTile, usual gemmTile) (gemmTile, tunedEntry) {
	e := tunedEntry{Clock: "wall", Micros: map[string]float64{}}
	if c.Device.ClockRuns() {
		e.Clock = "timestamps"
	}
	best, least := usual, time.Duration(1<<62)
	for _, t := range list {
		took, spilled, err := c.measure(g, t, least)
		switch {
		case err != nil: // it does not compile or run here, so it is no choice
			continue
		case spilled:
			e.Spilled = append(e.Spilled, t.name)
			continue
		}
		e.Micros[t.name] = float64(took) / float64(time.Microsecond)
		if took < least {
			best, least = t, took
		}
	}
	e.Kernel = best.name
	return best, e
}

const (
	measureWork    = 2e11                 // operations of a measured product: rows beyond them are left out
	measureTime    = 4 * time.Millisecond // of a batch of runs
	measureRuns    = 32                   // at most in a batch
	measureBatches = 3
)

// measure times a product on a kernel, on the device's clock where it runs: the least of some batches, or the first run
// where that is twice as slow as what is known. It reads the product's own operands and writes to a result of its own, so what is recorded stays
// as it is. spilled says that the driver tells of spilled registers.
func (c *Context) measure(g gemm, t gemmTile, known time.Duration) (least time.Duration, spilled bool, err error) {
	probe := New(c.Device)
	defer probe.Release()
	probe.statistics, probe.kernels, probe.broken, probe.taken = true, c.tuning.kernels, c.tuning.broken, map[*vk.Pipeline]bool{}
	probe.pick = func(gemm, []gemmTile) gemmTile { return t }
	if rows := int(measureWork / (2 * float64(g.n) * float64(g.k))); rows < g.m {
		g = g.rows(0, max(rows, min(g.m, 4*splitTile)))
	}
	result := wholeMatrix(probe.Alloc("measured product", g.C.DType, g.m, g.n))
	g.C, g.D = result, result
	run := func(times int) (time.Duration, error) {
		const phase = "measured"
		probe.Phase(phase)
		for range times {
			probe.gemmRun(g)
		}
		start := time.Now()
		err := probe.Submit()
		if took, ok := probe.PhaseTimes()[phase]; ok {
			return took, err
		}
		return time.Since(start), err
	}
	if _, err = run(1); err != nil { // compiles
		return 0, false, err
	}
	for p := range probe.taken {
		spilled = spilled || strings.HasPrefix(p.Name, t.kernel) && vk.Spills(p.Statistics()) > 0
	}
	if spilled {
		return 0, true, nil
	}
	if least, err = run(1); err != nil || least/2 > known {
		return least, false, err
	}
	times := int(min(measureRuns, max(1, measureTime/max(least, 1))))
	for range measureBatches {
		took, err := run(times)
		if err != nil {
			return 0, false, err
		}
		least = min(least, took/time.Duration(times))
	}
	return least, false, nil
}
