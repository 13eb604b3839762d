package oracle

// GEMMNT returns C = acc + A·Bᵀ: C[i,j] = acc[i,j] + Σ_p A[i,p]·B[j,p].
// A is [M, K], B is [N, K] (a linear layer's [out, in] weight), C is [M, N].
// acc is [M, N], or nil for 0. It is a linear layer's forward.
func GEMMNT(a, b []float64, m, n, k int, acc []float64) []float64 {
	c := start(acc, m*n)
	for i := range m {
		for j := range n {
			sum := 0.0
			for p := range k {
				sum += a[i*k+p] * b[j*k+p]
			}
			c[i*n+j] += sum
		}
	}
	return c
}

// GEMMNN returns C = acc + A·B: C[i,j] = acc[i,j] + Σ_p A[i,p]·B[p,j].
// A is [M, K], B is [K, N], C is [M, N]; acc is [M, N], or nil for 0.
// It is a linear layer's input gradient: dIn = dOut·Weight.
func GEMMNN(a, b []float64, m, n, k int, acc []float64) []float64 {
	c := start(acc, m*n)
	for i := range m {
		for p := range k {
			for j := range n {
				c[i*n+j] += a[i*k+p] * b[p*n+j]
			}
		}
	}
	return c
}

// GEMMTN returns C = acc + Aᵀ·B: C[i,j] = acc[i,j] + Σ_p A[p,i]·B[p,j].
// A is [K, M], B is [K, N], C is [M, N]; acc is [M, N], or nil for 0.
// It is a linear layer's weight gradient: dWeight = dOutᵀ·In.
func GEMMTN(a, b []float64, m, n, k int, acc []float64) []float64 {
	c := start(acc, m*n)
	for p := range k {
		for i := range m {
			for j := range n {
				c[i*n+j] += a[p*m+i] * b[p*n+j]
			}
		}
	}
	return c
}

// start returns a new slice of size values: a copy of acc, or zeros where acc is nil.
func start(acc []float64, size int) []float64 {
	c := make([]float64, size)
	copy(c, acc)
	return c
}
