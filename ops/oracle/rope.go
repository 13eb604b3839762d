package oracle

import "math"

// InvFreq returns inv_freq[i] = theta^(-2i/hd), i < hd/2, each rounded to float32 as the
// reference implementations hold it. Source: spec.md §5.3.
func InvFreq(hd int, theta float64) []float64 {
	inv := make([]float64, hd/2)
	for i := range inv {
		inv[i] = float64(float32(1 / math.Pow(theta, 2*float64(i)/float64(hd))))
	}
	return inv
}

// RoPETable returns cos and sin, both [P, hd/2], of the angles pos*inv_freq[i] for pos < P.
// The angle is rounded to float32; its cosine and sine are not. Source: spec.md §5.3.
func RoPETable(p, hd int, theta float64) (cos, sin []float64) {
	for pos := range p {
		for _, inv := range InvFreq(hd, theta) {
			angle := float64(float32(pos) * float32(inv))
			cos, sin = append(cos, math.Cos(angle)), append(sin, math.Sin(angle))
		}
	}
	return cos, sin
}

// RoPE rotates the pairs (i, i+hd/2) of every head by the angle of the row's position:
//
//	out[i]      = in[i] * cos[i] - in[i+hd/2] * sin[i]
//	out[i+hd/2] = in[i+hd/2] * cos[i] + in[i] * sin[i]
//
// in, out are [N, heads*hd]; cos, sin are [P, hd/2]; pos is [N], each below P.
// Source: spec.md §5.3.
func RoPE(in, cos, sin []float64, pos []int, n, heads, hd int) []float64 {
	return rotate(in, cos, sin, pos, n, heads, hd, 1)
}

// RoPEBackward returns dIn, the inverse rotation of dOut; arguments as for RoPE.
// Source: spec.md §9.6.
func RoPEBackward(dOut, cos, sin []float64, pos []int, n, heads, hd int) []float64 {
	return rotate(dOut, cos, sin, pos, n, heads, hd, -1)
}

// rotate is RoPE with the sine multiplied by sign.
func rotate(in, cos, sin []float64, pos []int, n, heads, hd int, sign float64) []float64 {
	out := make([]float64, n*heads*hd)
	half := hd / 2
	for row := range n {
		for h := range heads {
			for i := range half {
				lo := (row*heads+h)*hd + i
				hi := lo + half
				c, s := cos[pos[row]*half+i], sign*sin[pos[row]*half+i]
				out[lo] = in[lo]*c - in[hi]*s
				out[hi] = in[hi]*c + in[lo]*s
			}
		}
	}
	return out
}
