package vk_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/vk"
)

// TestBesideSharesBarriers records two chains of three links: one behind the other they need five
// barriers, beside one another two.
func TestBesideSharesBarriers(t *testing.T) {
	b := sharedBench(t)
	chain := func() (links []vk.Dispatch, last vk.Region) {
		x := b.buffer(64, 1)
		for range 3 {
			y := b.buffer(64, 0)
			links = append(links, b.sum(y, x, x))
			x = y
		}
		return links, x
	}
	side, sideLast := chain()
	main, mainLast := chain()
	r := b.device.NewRecorder()
	record := func(list []vk.Dispatch) {
		for _, d := range list {
			r.Dispatch(d)
		}
	}
	r.Beside(func() { record(side) })
	require.Empty(t, r.Barriers(), "nothing has to run yet")
	record(main)
	require.Equal(t, []bool{false, false, true, false, true, false}, r.Barriers())
	sum := b.buffer(64, 0)
	r.Dispatch(b.sum(sum, sideLast, mainLast))
	require.NoError(t, r.Submit())
	b.all(sum, 16)
}

// TestBesideKeepsTheOrder runs random commands on a few buffers, some of them beside, and wants
// what the order of recording gives.
func TestBesideKeepsTheOrder(t *testing.T) {
	b := sharedBench(t)
	random := rand.New(rand.NewPCG(3, 4))
	const buffers = 6
	for range 40 {
		type step struct {
			beside  bool
			x, y, z int
		}
		var steps []step
		for range 30 {
			steps = append(steps, step{random.IntN(2) == 0, random.IntN(buffers), random.IntN(buffers), random.IntN(buffers)})
		}
		run := func(beside bool) []float32 {
			var list []vk.Region
			for i := range buffers {
				list = append(list, b.buffer(4, float32(i+1)))
			}
			r := b.device.NewRecorder()
			for _, s := range steps {
				one := func() {
					switch {
					case s.x != s.y && s.x != s.z:
						r.Dispatch(b.sum(list[s.x], list[s.y], list[s.z]))
					case s.x != s.y:
						r.Copy(list[s.x], list[s.y])
					default:
						r.Fill(list[s.x], uint32(s.z)<<23|0x3f000000)
					}
				}
				if s.beside && beside {
					r.Beside(one)
				} else {
					one()
				}
			}
			require.NoError(t, r.Submit())
			var all []float32
			for _, x := range list {
				all = append(all, b.first(x))
			}
			return all
		}
		require.Equal(t, run(false), run(true))
	}
	require.Empty(t, b.device.Messages())
}
