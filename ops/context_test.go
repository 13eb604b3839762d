package ops_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// workload allocates tensors of several sizes, on either side of what a shared block holds, and runs ops that need a workspace.
func workload(c *ops.Context) (blocks []tensors.Tensor) {
	x := c.Alloc("x", tensors.BF16, 8, 4096)
	w := c.Alloc("w", tensors.BF16, 16, 4096)
	y := c.Alloc("y", tensors.F32, 8, 16)
	for _, n := range []int{0, 1, 63, 64, 65, 1 << 20, 5 << 20, 9 << 20} {
		blocks = append(blocks, c.Alloc("block", tensors.BF16, n))
	}
	host := c.AllocHost("host", tensors.I32, 3)
	c.Reserve()
	c.Zero(x)
	c.Zero(w)
	c.Gemm(ops.NT, y, x, w)
	c.Zero(host)
	return blocks
}

// What was recorded and not started does not outlive its tensors.
func TestReleaseForgetsWhatWasRecorded(t *testing.T) {
	c := ops.New(testgpu.Device(t))
	defer c.Release()
	workload(c)
	c.Release()
	x := c.Alloc("x", tensors.F32, 4)
	c.UploadF32(x, []float32{1, 2, 3, 4})
	c.Add(x, x, x)
	require.NoError(t, c.Submit())
	got, err := c.Float32s(x)
	require.NoError(t, err)
	require.Equal(t, []float32{2, 4, 6, 8}, got)
}

// TestDryContextPlansTheSame: the plan is what a run allocates, name by name, and the device holds that and
// the unused ends of its shared blocks.
func TestDryContextPlansTheSame(t *testing.T) {
	d := testgpu.Device(t)
	before := d.Allocated()
	c, dry := ops.New(d), ops.NewDry()
	defer c.Release()
	require.True(t, dry.Dry())
	require.False(t, c.Dry())
	blocks := workload(c)
	workload(dry)
	require.NoError(t, c.Submit())
	require.NoError(t, dry.Submit())
	want, total := c.Plan()
	got, dryTotal := dry.Plan()
	require.Equal(t, want, got)
	require.Equal(t, total, dryTotal)
	var sum int64
	for i, a := range got {
		sum += a.Bytes
		require.Zero(t, a.Bytes%vk.Align)
		require.True(t, i == 0 || got[i-1].Bytes >= a.Bytes, "the largest first")
	}
	require.Equal(t, sum, total)
	require.GreaterOrEqual(t, d.Allocated()-before, total)
	require.InEpsilon(t, total, d.Allocated()-before, 0.05)
	for _, b := range blocks {
		require.Zero(t, b.Region.Offset%vk.Align)
		require.Equal(t, b.Bytes(), b.Region.Bytes)
	}
	_, err := dry.Download(blocks[1])
	require.ErrorContains(t, err, "dry")
}

// TestAllocationsAreApart fills tensors that share a block with different values.
func TestAllocationsAreApart(t *testing.T) {
	r := newRig(t, 1)
	sizes := []int{1, 3, 64, 65, 1000, 0, 2}
	list := make([]tensors.Tensor, len(sizes))
	for i, n := range sizes {
		list[i] = r.c.Alloc("t", tensors.F32, n)
		r.fill(list[i], repeated(n, float32(i)))
	}
	for i, n := range sizes {
		require.Equal(t, repeated(n, float32(i)), r.floats(list[i]), "tensor %d", i)
	}
}

// repeated is n times v.
func repeated(n int, v float32) []float32 {
	list := make([]float32, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func TestReleaseFreesEverything(t *testing.T) {
	d := testgpu.Device(t)
	before := d.Allocated()
	c := ops.New(d)
	for range 3 {
		workload(c)
		require.NoError(t, c.Submit())
		require.Greater(t, d.Allocated(), before)
		c.Release()
		require.Equal(t, before, d.Allocated())
		list, total := c.Plan()
		require.Empty(t, list)
		require.Zero(t, total)
	}
	c.Release()
	require.Equal(t, before, d.Allocated())
}

// TestStickyErrors: the first error stays, what is recorded around it does not run, and Submit hands it over.
func TestStickyErrors(t *testing.T) {
	r := newRig(t, 2)
	c := r.c
	x, y, bad := r.tensor(tensors.F32, 0, 8), r.tensor(tensors.F32, 0, 8), r.tensor(tensors.F32, 0, 9)
	r.fill(x, repeated(8, 1))
	r.fill(y, repeated(8, 2))
	c.Add(x, x, y) // fine, but part of a list that fails
	c.Add(x, bad, y)
	first := c.Err()
	require.ErrorContains(t, first, "ops: add: ")
	c.Copy(x, bad)
	c.Gemm(ops.NT, x, bad, y)
	c.Fail(vk.ErrDeviceLost)
	c.Zero(y)
	c.Upload(x, make([]byte, 32))
	c.UploadF32(y, repeated(8, 5))
	require.Equal(t, first, c.Err(), "the first error stays")
	require.Equal(t, first, c.Submit())
	require.NoError(t, c.Err())
	require.NoError(t, c.Submit(), "and is gone once told")
	require.Equal(t, repeated(8, 1), r.floats(x), "nothing ran")
	require.Equal(t, repeated(8, 2), r.floats(y))
	c.Add(x, x, y)
	r.submit()
	require.Equal(t, repeated(8, 3), r.floats(x), "the context goes on")
}

func TestTransferErrors(t *testing.T) {
	c := testgpu.Context(t)
	x := c.Alloc("x", tensors.F32, 2, 3)
	for _, k := range []struct {
		want string
		call func()
	}{
		{"ops: upload x: want 24 bytes, got 20", func() { c.Upload(x, make([]byte, 20)) }},
		{"ops: upload x: want 24 bytes, got 28", func() { c.UploadF32(x, make([]float32, 7)) }},
		{"ops: upload i: dtype I32", func() { c.UploadF32(c.Alloc("i", tensors.I32, 4), make([]float32, 4)) }},
		{"ops: copy x [2 3] to h [2 3]", func() { c.Copy(c.Alloc("h", tensors.BF16, 2, 3), x) }},
		{"vk: copy: want two regions apart", func() { c.Copy(x.Slice(0, 1), x.Slice(0, 1)) }},
	} {
		k.call()
		require.ErrorContains(t, c.Submit(), k.want)
	}
}

// TestAllocationThatFails: an allocation beyond the device ends in an error with the tensor's name and exit code 3.
func TestAllocationThatFails(t *testing.T) {
	d := testgpu.Device(t)
	before := d.Allocated()
	c := ops.New(d)
	huge := c.Alloc("huge", tensors.F32, 1<<20, 1<<20)
	c.Zero(huge)
	c.Upload(huge, nil)
	err := c.Submit()
	require.ErrorIs(t, err, vk.ErrOutOfDeviceMemory)
	require.Equal(t, fail.Memory, fail.CodeOf(err))
	require.ErrorContains(t, err, "ops: allocating huge [1048576 1048576]: ")
	require.Equal(t, before, d.Allocated())
	c.Release()
}

// TestViewsInTheMiddle runs ops whose tensors start anywhere in their buffers; the rig's guards see every byte beside them.
func TestViewsInTheMiddle(t *testing.T) {
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 6)
			for skip := range 9 {
				r.clear()
				viewsInTheMiddle(t, r, dt, skip)
			}
		})
	}
}

func viewsInTheMiddle(t *testing.T, r *rig, dt tensors.DType, skip int) {
	for _, n := range []int{1, 7, 64} {
		a, b := r.tensor(dt, skip, n), r.tensor(dt, 2*skip, n)
		va, vb := r.fill(a, r.values(n)), r.fill(b, r.values(n))
		sum, same, zero := r.tensor(dt, skip+1, n), r.tensor(dt, 3*skip, n), r.tensor(dt, skip, n)
		wide := r.tensor(tensors.F32, skip, n)
		r.c.Add(sum, a, b)
		r.c.Copy(same, b)
		r.c.Zero(zero)
		r.c.Cast(wide, a)
		r.submit()
		want := make([]float64, n)
		for i := range want {
			want[i] = va[i] + vb[i]
		}
		r.near(sum, want, elementwise, "skip %d, %d elements", skip, n)
		require.Equal(t, vb, r.read(same))
		require.Equal(t, make([]float64, n), r.read(zero))
		require.Equal(t, va, r.read(wide))
		require.Equal(t, [][]float64{va, vb}, [][]float64{r.read(a), r.read(b)}, "inputs stay")
	}
	const m, n, k = 5, 9, 12
	x, w, y := r.tensor(dt, skip, m, k), r.tensor(dt, 2*skip, n, k), r.tensor(tensors.F32, 3*skip, m, n)
	vx, vw := r.fill(x, r.values(m*k)), r.fill(w, r.values(n*k))
	r.c.Gemm(ops.NT, y, x, w)
	r.submit()
	want := make([]float64, m*n)
	for i := range want {
		for l := range k {
			want[i] += vx[i/n*k+l] * vw[i%n*k+l]
		}
	}
	r.near(y, want, matmul, "skip %d", skip)
}

// TestWorkspaceIsReused runs split products one after the other: each writes its partial sums where those of the one before lie.
func TestWorkspaceIsReused(t *testing.T) {
	r := newRig(t, 3)
	const m, n, k, runs = 4, 6, 4096, 4
	results, want := make([]tensors.Tensor, runs), make([][]float64, runs)
	for i := range runs {
		x, vx := r.input(tensors.F32, m, k)
		w, vw := r.input(tensors.F32, n, k)
		results[i], want[i] = r.tensor(tensors.F32, 0, m, n), make([]float64, m*n)
		for j := range want[i] {
			for l := range k {
				want[i][j] += vx[j/n*k+l] * vw[j%n*k+l]
			}
		}
		r.c.Gemm(ops.NT, results[i], x, w)
	}
	r.submit()
	for i := range runs {
		r.near(results[i], want[i], matmul, "product %d", i)
	}
	list, _ := r.c.Plan()
	workspaces := 0
	for _, a := range list {
		if a.Name == "workspace" {
			workspaces++
		}
	}
	require.Equal(t, 1, workspaces, "the products are split, in one workspace")
}

// TestGridsBeyondOneDimension gathers more rows than a grid has workgroups in one dimension.
func TestGridsBeyondOneDimension(t *testing.T) {
	r := newRig(t, 4)
	const n, rows, cols = 65535 + 4100, 17, 4
	src, _ := r.input(tensors.F32, rows, cols)
	index := make([]int, n)
	for i := range index {
		index[i] = (i * 7) % rows
	}
	result := r.tensor(tensors.F32, 0, n, cols)
	r.c.Gather(result, 0, src, 0, cols, r.indices(index...))
	r.submit()
	table, got := r.floats(src), r.floats(result)
	want := make([]float32, 0, n*cols)
	for _, i := range index {
		want = append(want, table[i*cols:(i+1)*cols]...)
	}
	nmse, _ := oracle.Compare(got, widen(want))
	require.Zero(t, nmse)
}

// TestUploadAndDownload: every dtype comes back as it was, through tensors of the device and of the host.
func TestUploadAndDownload(t *testing.T) {
	r := newRig(t, 5)
	for _, alloc := range []func(string, tensors.DType, ...int) tensors.Tensor{r.c.Alloc, r.c.AllocHost} {
		for _, n := range []int{0, 1, 5, 4097} {
			x := alloc("x", tensors.BF16, n)
			raw := bytes.Repeat([]byte{0x80, 0x3f}, n) // 1
			r.c.Upload(x, raw)
			got, err := r.c.Download(x)
			require.NoError(t, err)
			require.Equal(t, len(raw), len(got))
			require.True(t, bytes.Equal(raw, got))
			require.Equal(t, repeated(n, 1), r.floats(x))
			i := alloc("i", tensors.I32, n)
			words := make([]int32, n)
			for k := range words {
				words[k] = int32(k) - 2
			}
			r.c.UploadI32(i, words)
			back, err := r.c.Int32s(i)
			require.NoError(t, err)
			require.Equal(t, words, back)
		}
	}
	require.NoError(t, r.c.Err())
}

// TestCompileHint: where a kernel does not compile, the next lower tier may do.
func TestCompileHint(t *testing.T) {
	require.Contains(t, ops.CompileHint(vk.T3), "VKDOMINO_TIER=2 does")
	require.Contains(t, ops.CompileHint(vk.T2), "VKDOMINO_TIER=1 does")
	for _, tier := range []vk.Tier{vk.T0, vk.T1} {
		require.Contains(t, ops.CompileHint(tier), "doctor", tier)
	}
}
