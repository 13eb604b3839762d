package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

// Where one kernel scans. Beyond, a step has work enough for dispatches of its own, whose products take larger tiles and more threads.
const (
	scanUnits = 128     // the most units
	scanWork  = 1 << 17 // the most workgroups times G²
)

// gruScans reports whether one kernel runs all steps of a GRU over nb blocks and these tensors: on CPU drivers that gain by
// texels, where a dispatch costs more than a step's work. The bits are those of a dispatch for each step.
func (c *Context) gruScans(nb, G int, uses []use) bool {
	if c.Device.Tier() != vk.T0 || !c.Device.FastestTexels || G%eightWide != 0 || G > scanUnits ||
		ceilDiv(nb, c.Device.SubgroupSize)*G*G > scanWork {
		return false
	}
	for _, u := range uses {
		if !c.texels(u.Tensor, G) || u.Region.Bytes+vk.Align > c.Device.MaxBindingBytes {
			return false
		}
	}
	return true
}

// gruScan is GRU in one dispatch, where that can be.
func (c *Context) gruScan(s GRUSaved, gi, index, whh tensors.Tensor, bs, nb int) bool {
	indexed := !absent(index)
	if !indexed {
		index = gi // bound in its place
	}
	G := whh.Cols()
	uses := []use{read(gi), read(whh), in(index), inout(s.States), out(s.Gates), inout(s.state)}
	return c.gruScanRun("gru_scan_forward."+storage(whh), c.rowSpec(flag(indexed)), uses, bs, nb, G)
}

// gruScanBackward is GRUBackward in one dispatch, where that can be.
func (c *Context) gruScanBackward(dGi, dGh, dStates tensors.Tensor, s GRUSaved, whh tensors.Tensor, bs, nb int) bool {
	uses := []use{read(dStates), inout(s.state), read(s.Gates), read(s.States), read(whh), out(dGi), inout(dGh)}
	return c.gruScanRun("gru_scan_backward."+storage(whh), c.rowSpec(), uses, bs, nb, whh.Cols())
}

// gruScanRun records a kernel that takes as many blocks as a subgroup has lanes through all steps.
func (c *Context) gruScanRun(kernel string, spec []uint32, uses []use, bs, nb, G int) bool {
	if bs == 0 || !c.gruScans(nb, G, uses) {
		return false
	}
	work := float64((bs-1)*nb)*6*float64(G*G) + float64(bs*nb)*gruWork*float64(G)
	c.run(launch{kernel: kernel, spec: spec, uses: uses,
		params: []uint32{uint32(nb), uint32(G), uint32(bs)}, groups: fold(ceilDiv(nb, c.Device.SubgroupSize)), work: work})
	return true
}
