package ops

import (
	"errors"
	"fmt"

	"vkdomino/internal/fail"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// proofSizes are M, N and K of proofs: whole tiles and parts of them, rows that start at multiples of 16 bytes and rows that do not.
var proofSizes = [][3]int{{300, 264, 200}, {67, 45, 37}}

// Prove runs products on the usual kernels on cooperative matrices of the tier in use, in every layout, with results in f32 and bf16,
// and compares them with exact ones, bit for bit: operands are whole numbers so small that every sum is exact. The error names
// the first kernel that does not compile, does not run or computes something else. Below T2 there is nothing to prove.
func (c *Context) Prove() error {
	return c.prove(func(g gemm) []gemmTile {
		list := c.matrixTiles(g)
		if len(list) == 0 {
			return nil
		}
		large, small := g, g
		large.m, large.n = 1<<16, 1<<16
		small.m, small.n = smallTile, smallTile
		tiles := []gemmTile{c.usualTile(large, list), c.usualTile(small, list)}
		if tiles[0].name == tiles[1].name {
			return tiles[:1]
		}
		return tiles
	})
}

// prove is Prove for the kernels that tiles gives for a product.
func (c *Context) prove(tiles func(gemm) []gemmTile) error {
	probe := New(c.Device)
	defer probe.Release()
	for layout := NT; layout <= TN; layout++ {
		for _, size := range proofSizes {
			p := newProof(probe, layout, size)
			for _, result := range []tensors.Tensor{probe.Alloc("proof", tensors.F32, p.m, p.n), probe.Alloc("proof", tensors.BF16, p.m, p.n)} {
				p.C = wholeMatrix(result)
				p.D = p.C
				for _, t := range tiles(p.gemm) {
					probe.pick = func(gemm, []gemmTile) gemmTile { return t }
					err := p.product(probe)
					if err == nil {
						err = p.sum(probe)
					}
					if err != nil {
						return fmt.Errorf("ops: %s, %s %dx%dx%d, result %s: %w", t.name, layoutNames[layout], p.m, p.n, p.k, result.DType, err)
					}
				}
			}
		}
	}
	return nil
}

// proof is a product whose result is known.
type proof struct {
	gemm
	want []float32
}

func newProof(c *Context, layout Layout, size [3]int) proof {
	m, n, k := size[0], size[1], size[2]
	shapeA, shapeB := [2]int{m, k}, [2]int{n, k}
	if layout == TN {
		shapeA = [2]int{k, m}
	}
	if layout != NT {
		shapeB = [2]int{k, n}
	}
	a, va := proofOperand(c, shapeA, 7)
	b, vb := proofOperand(c, shapeB, 11)
	at := func(v []float32, shape [2]int, along bool, i, k int) float32 {
		if along {
			return v[i*shape[1]+k]
		}
		return v[k*shape[1]+i]
	}
	want := make([]float32, m*n)
	for i := range m {
		for j := range n {
			for q := range k {
				want[i*n+j] += at(va, shapeA, layout != TN, i, q) * at(vb, shapeB, layout == NT, j, q)
			}
		}
	}
	return proof{gemm{layout: layout, A: wholeMatrix(a), B: wholeMatrix(b), m: m, n: n, k: k}, want}
}

// proofOperand is a matrix of whole numbers from -2 to 2.
func proofOperand(c *Context, shape [2]int, step int) (tensors.Tensor, []float32) {
	t, v := c.Alloc("proof", tensors.BF16, shape[0], shape[1]), make([]float32, shape[0]*shape[1])
	for i := range v {
		v[i] = float32((i*step+i/shape[1]*3+i/17)%5) - 2
	}
	c.UploadF32(t, v)
	return t, v
}

// product compares the product, where there was what no sum reaches.
func (p proof) product(c *Context) error {
	return p.run(c, func(int) float32 { return 1 << 20 })
}

// sum compares the product added to what was there, whole numbers.
func (p proof) sum(c *Context) error {
	p.add = true
	return p.run(c, func(i int) float32 { return float32(i%5) - 2 })
}

// run computes the product, or what it adds to old, and compares it.
func (p proof) run(c *Context, old func(i int) float32) error {
	before := make([]float32, len(p.want))
	for i := range before {
		before[i] = old(i)
	}
	c.UploadF32(p.C.Tensor, before)
	c.gemmRun(p.gemm)
	if err := c.Submit(); err != nil {
		return err
	}
	got, err := c.Float32s(p.C.Tensor)
	if err != nil {
		return err
	}
	for i, want := range p.want {
		if p.add {
			want += before[i]
		}
		if p.C.DType == tensors.BF16 {
			want = tensors.F32FromBF16(tensors.BF16FromF32(want))
		}
		if got[i] != want {
			return fmt.Errorf("element %d, %d: want %v, got %v", i/p.n, i%p.n, want, got[i])
		}
	}
	return nil
}

// ProveTier proves the kernels of a device's own tier (Prove) and where they fail lowers the tier, as far as T1, which needs no
// matrices. warning says what failed. What was found is kept in the Tuning, so that it is asked for once for a driver. A lack of
// memory says nothing of kernels, and the tier stays. err is of a device that was lost or does not answer: the next start knows.
func (c *Context) ProveTier() (warning, err error) {
	for c.Device.Tier() >= vk.T2 {
		tier := c.Device.Tier()
		reason, known := c.tuning.proof(tier)
		if !known {
			err := c.Prove()
			if errors.Is(err, vk.ErrOutOfDeviceMemory) {
				return fmt.Errorf("tier %s is used without having been proven: %w", tier, err), nil
			}
			if err != nil {
				reason = err.Error()
			}
			c.tuning.setProof(tier, reason)
			if errors.Is(err, vk.ErrDeviceLost) || errors.Is(err, vk.ErrTimeout) {
				hint := fmt.Sprintf("start the command again, which then uses tier %s; or set %s=%d", tier-1, vk.TierVariable, tier-1)
				return nil, fail.New(fail.CodeOf(err), hint, "tier %s does not run here: %w", tier, err)
			}
		}
		if reason == "" {
			break
		}
		c.Device.Lower(tier - 1)
		warning = fmt.Errorf("tier %s computes something else or does not run here: %s; using %s (%s=%d uses it all the same)",
			tier, reason, c.Device.Tier(), vk.TierVariable, tier)
	}
	return warning, nil
}
