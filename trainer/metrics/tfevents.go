package metrics

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of TensorFlow's event.proto and summary.proto, as far as scalars need them.
const (
	eventWallTime    protowire.Number = 1 // double, seconds since 1970
	eventStep        protowire.Number = 2 // int64
	eventFileVersion protowire.Number = 3 // string
	eventSummary     protowire.Number = 5 // Summary
	eventSessionLog  protowire.Number = 7 // SessionLog
	summaryValue     protowire.Number = 1 // repeated Summary.Value
	valueTag         protowire.Number = 1 // string
	valueSimple      protowire.Number = 2 // float
	sessionStatus    protowire.Number = 1 // enum

	sessionStart = 1 // SessionLog.START: a reader drops earlier files' steps from here on
)

// tagPrefix groups a run's scalars in TensorBoard's list.
const tagPrefix = "train/"

// crcDelta is TFRecord's constant for masking checksums.
const crcDelta = 0xa282ead8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// eventFile is one TensorBoard event file: TFRecords of Event messages.
type eventFile struct {
	file *os.File
	now  func() time.Time
}

// createEventFile starts a new event file in dir. With fromStep above 0 it says
// that the session starts anew there, so that steps which an earlier file has
// beyond it do not show twice.
func createEventFile(dir string, fromStep int) (*eventFile, error) {
	e := &eventFile{now: time.Now}
	var err error
	if e.file, err = createNumbered(dir, e.now()); err != nil {
		return nil, err
	}
	version := protowire.AppendString(protowire.AppendTag(nil, eventFileVersion, protowire.BytesType), "brain.Event:2")
	err = e.append(0, version)
	if err == nil && fromStep > 0 {
		session := protowire.AppendVarint(protowire.AppendTag(nil, sessionStatus, protowire.VarintType), sessionStart)
		err = e.append(fromStep, protowire.AppendBytes(protowire.AppendTag(nil, eventSessionLog, protowire.BytesType), session))
	}
	if err != nil {
		return nil, errors.Join(err, e.file.Close())
	}
	return e, nil
}

// createNumbered creates events.out.tfevents.<seconds>.vkdomino.<n> with the first
// number that is free: readers take the files of a folder in the order of their names.
func createNumbered(dir string, now time.Time) (*os.File, error) {
	const limit = 1000 // restarts within one second
	for n := range limit {
		name := fmt.Sprintf("events.out.tfevents.%010d.vkdomino.%03d", now.Unix(), n)
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("event file: %s holds %d of second %d", dir, limit, now.Unix())
}

// write appends one event with every value of the row but its step.
func (e *eventFile) write(r Row, step int) error {
	var summary []byte
	for _, f := range r.fields {
		if f.name == Step {
			continue
		}
		value := protowire.AppendString(protowire.AppendTag(nil, valueTag, protowire.BytesType), tagPrefix+f.name)
		value = protowire.AppendTag(value, valueSimple, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(f.value())))
		summary = protowire.AppendBytes(protowire.AppendTag(summary, summaryValue, protowire.BytesType), value)
	}
	return e.append(step, protowire.AppendBytes(protowire.AppendTag(nil, eventSummary, protowire.BytesType), summary))
}

// append writes one Event with the wall time, the step and one more encoded field.
func (e *eventFile) append(step int, what []byte) error {
	wall := float64(e.now().UnixNano()) / float64(time.Second)
	event := protowire.AppendFixed64(protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type), math.Float64bits(wall))
	event = protowire.AppendVarint(protowire.AppendTag(event, eventStep, protowire.VarintType), uint64(step))
	_, err := e.file.Write(tfRecord(append(event, what...)))
	return err
}

// tfRecord frames data: length (u64), masked CRC of the length, data, masked CRC
// of the data; all little-endian.
func tfRecord(data []byte) []byte {
	record := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	record = binary.LittleEndian.AppendUint32(record, maskedCRC(record))
	record = append(record, data...)
	return binary.LittleEndian.AppendUint32(record, maskedCRC(data))
}

// maskedCRC is CRC-32C rotated right by 15 bits plus a constant.
func maskedCRC(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + crcDelta
}
