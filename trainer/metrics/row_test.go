package metrics

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRowKeepsOrderAndKinds(t *testing.T) {
	var r Row
	r.SetInt(Step, 3)
	r.SetFloat(Loss, 2)
	r.SetFloat(LearningRate, 2e-5)
	r.SetInt(Blocks, 128)
	r.SetFloat(Loss, 2.5) // keeps its place
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.Equal(t, `{"step":3,"loss":2.5,"learning_rate":2e-05,"blocks":128}`, string(text))
	require.Equal(t, []string{Step, Loss, LearningRate, Blocks}, r.Names())
	v, ok := r.Value(Blocks)
	require.True(t, ok)
	require.Equal(t, 128.0, v)
	_, ok = r.Value(BaseLoss)
	require.False(t, ok)
	step, ok := r.Step()
	require.True(t, ok)
	require.Equal(t, 3, step)
}

func TestRowRoundTrip(t *testing.T) {
	values := []float64{0, math.Copysign(0, -1), 1, -17, 0.1, math.Pi, 1e300, 5e-324, math.MaxFloat64,
		float64(float32(0.1)), math.NaN(), math.Inf(1), math.Inf(-1)}
	for _, v := range values {
		var in, out Row
		in.SetInt(Step, math.MaxInt64)
		in.SetFloat(Loss, v)
		text, err := json.Marshal(in)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &out))
		require.False(t, out.fields[1].integer, "%s", text)
		require.Equal(t, in.fields[0], out.fields[0])
		if math.IsNaN(v) {
			require.True(t, math.IsNaN(out.fields[1].f))
			continue
		}
		require.Equal(t, math.Float64bits(v), math.Float64bits(out.fields[1].f), "%s", text)
	}
}

func TestRowRefusesWhatIsNoRow(t *testing.T) {
	for _, text := range []string{
		`[]`, `3`, `null`, `{"loss":"high"}`, `{"loss":null}`, `{"loss":[1]}`, `{"loss":{}}`, `{"loss":true}`,
		`{"loss":1,"loss":2}`, `{"loss":1e999}`, `{"loss":1`, `{"loss":}`,
	} {
		var r Row
		require.Error(t, json.Unmarshal([]byte(text), &r), text)
		require.Empty(t, r.fields, text)
	}
	for _, text := range []string{`{}`, `{"step":-1}`, `{"step":1.0}`} {
		var r Row
		require.NoError(t, json.Unmarshal([]byte(text), &r), text)
		_, ok := r.Step()
		require.False(t, ok, text)
	}
}
