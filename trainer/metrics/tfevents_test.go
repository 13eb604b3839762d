package metrics

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The reader below shares nothing with the writer: its own CRC, bit by bit, its own
// varints and its own walk over the protobuf fields.

// slowCRC32C is CRC-32C by its definition (reflected polynomial 0x82f63b78).
func slowCRC32C(data []byte) uint32 {
	crc := ^uint32(0)
	for _, b := range data {
		crc ^= uint32(b)
		for range 8 {
			if crc&1 == 1 {
				crc = crc>>1 ^ 0x82f63b78
			} else {
				crc >>= 1
			}
		}
	}
	return ^crc
}

// unmask undoes TFRecord's masking of a checksum.
func unmask(masked uint32) uint32 {
	rotated := masked - 0xa282ead8
	return rotated>>17 | rotated<<15
}

func little(data []byte) (v uint64) {
	for i, b := range data {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// readRecords splits a TFRecord file and checks both checksums of each record.
func readRecords(t *testing.T, data []byte) [][]byte {
	t.Helper()
	var records [][]byte
	for len(data) > 0 {
		require.GreaterOrEqual(t, len(data), 16)
		n := int(little(data[:8]))
		require.Equal(t, slowCRC32C(data[:8]), unmask(uint32(little(data[8:12]))), "length checksum")
		require.GreaterOrEqual(t, len(data), 16+n)
		body := data[12 : 12+n]
		require.Equal(t, slowCRC32C(body), unmask(uint32(little(data[12+n:16+n]))), "data checksum")
		records = append(records, body)
		data = data[16+n:]
	}
	return records
}

type wireField struct {
	number int
	scalar uint64
	bytes  []byte
}

// readFields walks over one protobuf message.
func readFields(t *testing.T, data []byte) []wireField {
	t.Helper()
	varint := func() (v uint64) {
		for shift := 0; ; shift += 7 {
			require.NotEmpty(t, data)
			b := data[0]
			data = data[1:]
			v |= uint64(b&0x7f) << shift
			if b < 0x80 {
				return v
			}
		}
	}
	take := func(n int) []byte {
		require.GreaterOrEqual(t, len(data), n)
		part := data[:n]
		data = data[n:]
		return part
	}
	var fields []wireField
	for len(data) > 0 {
		key := varint()
		f := wireField{number: int(key >> 3)}
		switch key & 7 {
		case 0:
			f.scalar = varint()
		case 1:
			f.scalar = little(take(8))
		case 2:
			f.bytes = take(int(varint()))
		case 5:
			f.scalar = little(take(4))
		default:
			t.Fatalf("wire type %d", key&7)
		}
		fields = append(fields, f)
	}
	return fields
}

type readEvent struct {
	wall    float64
	step    int
	version string
	status  uint64
	values  map[string]float32
}

// readEvents reads an event file whole.
func readEvents(t *testing.T, path string) []readEvent {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var events []readEvent
	for _, record := range readRecords(t, data) {
		e := readEvent{values: map[string]float32{}}
		for _, f := range readFields(t, record) {
			switch f.number {
			case 1:
				e.wall = math.Float64frombits(f.scalar)
			case 2:
				e.step = int(f.scalar)
			case 3:
				e.version = string(f.bytes)
			case 5:
				for _, value := range readFields(t, f.bytes) {
					require.Equal(t, 1, value.number)
					parts := readFields(t, value.bytes)
					require.Len(t, parts, 2)
					require.Equal(t, []int{1, 2}, []int{parts[0].number, parts[1].number})
					e.values[string(parts[0].bytes)] = math.Float32frombits(uint32(parts[1].scalar))
				}
			case 7:
				e.status = readFields(t, f.bytes)[0].scalar
			default:
				t.Fatalf("field %d in an event", f.number)
			}
		}
		events = append(events, e)
	}
	return events
}

func eventFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "tensorboard", "events.out.tfevents.*"))
	require.NoError(t, err)
	return files // sorted by name
}

func TestEventFileOfARun(t *testing.T) {
	dir := t.TempDir()
	before := float64(time.Now().UnixNano()) / 1e9
	runSteps(t, dir, 0, 300)
	files := eventFiles(t, dir)
	require.Len(t, files, 1)
	events := readEvents(t, files[0])
	require.Len(t, events, 301)
	require.Equal(t, "brain.Event:2", events[0].version)
	for i, e := range events[1:] {
		require.Equal(t, i, e.step)
		require.Equal(t, map[string]float32{"train/loss": float32(i) / 8}, e.values)
		require.InDelta(t, before, e.wall, 60)
	}
}

func TestResumedRunStartsANewEventFile(t *testing.T) {
	dir := t.TempDir()
	runSteps(t, dir, 0, 7)
	runSteps(t, dir, 5, 9)
	files := eventFiles(t, dir)
	require.Len(t, files, 2)
	resumed := readEvents(t, files[1])
	require.Equal(t, "brain.Event:2", resumed[0].version)
	require.Equal(t, uint64(1), resumed[1].status, "SessionLog.START: the older steps 5 and 6 do not count")
	require.Equal(t, 5, resumed[1].step)
	require.Len(t, resumed, 2+4)
	require.Equal(t, 8, resumed[5].step)
	require.Len(t, readEvents(t, files[0]), 1+7, "the older file stays as it was")

	rows, err := ReadRows(filepath.Join(dir, "metrics.jsonl"))
	require.NoError(t, err)
	require.Len(t, rows, 9)
}

func TestEventFileKeepsEveryValueOfARow(t *testing.T) {
	dir := t.TempDir()
	l, err := OpenLog(dir, 0, true)
	require.NoError(t, err)
	var r Row
	r.SetInt(Step, 0)
	r.SetFloat(Loss, math.Inf(1))
	r.SetInt(Blocks, 300)
	r.SetFloat(LambdaBase, 0.25)
	require.NoError(t, l.Write(r))
	require.NoError(t, l.Close())
	events := readEvents(t, eventFiles(t, dir)[0])
	require.Equal(t, map[string]float32{
		"train/loss": float32(math.Inf(1)), "train/blocks": 300, "train/lambda_base": 0.25,
	}, events[1].values)
}
