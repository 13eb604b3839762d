package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	key   string
	value any
}

const indentStep = "  "

// encode writes doc as Python's json.dumps(doc, indent=2) does, which is what the loaders' own exporters use.
func encode(doc object) ([]byte, error) {
	var buf bytes.Buffer
	if err := appendValue(&buf, doc, ""); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// appendValue writes one value whose line begins with indent.
func appendValue(buf *bytes.Buffer, value any, indent string) error {
	switch v := value.(type) {
	case object:
		return appendList(buf, '{', '}', len(v), indent, func(i int, inner string) error {
			if err := appendValue(buf, v[i].key, inner); err != nil {
				return err
			}
			buf.WriteString(": ")
			return appendValue(buf, v[i].value, inner)
		})
	case []int:
		return appendList(buf, '[', ']', len(v), indent, func(i int, inner string) error { return appendValue(buf, v[i], inner) })
	case []string:
		return appendList(buf, '[', ']', len(v), indent, func(i int, inner string) error { return appendValue(buf, v[i], inner) })
	case json.RawMessage:
		return appendRaw(buf, v, indent)
	case float64:
		text, err := pythonFloat(v)
		buf.WriteString(text)
		return err
	case int, bool, string:
		text, err := json.Marshal(v)
		buf.Write(text)
		return err
	}
	return fmt.Errorf("export: encode: want a JSON value, got %T", value)
}

// appendList writes n items, one on a line, between two brackets.
func appendList(buf *bytes.Buffer, left, right byte, n int, indent string, item func(i int, indent string) error) error {
	buf.WriteByte(left)
	inner := indent + indentStep
	for i := range n {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.WriteString("\n" + inner)
		if err := item(i, inner); err != nil {
			return err
		}
	}
	if n > 0 {
		buf.WriteString("\n" + indent)
	}
	buf.WriteByte(right)
	return nil
}

// appendRaw writes JSON text that came from elsewhere, laid out anew; nil is null.
func appendRaw(buf *bytes.Buffer, raw json.RawMessage, indent string) error {
	if len(raw) == 0 {
		buf.WriteString("null")
		return nil
	}
	return json.Indent(buf, raw, indent, indentStep)
}

// pythonFloat formats x as Python's repr: the shortest digits that give x back, always with a point or an exponent, and
// an exponent below 1e-4 and from 1e16 on.
func pythonFloat(x float64) (string, error) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "", fmt.Errorf("export: encode: want a finite number, got %v", x)
	}
	const least, most = 1e-4, 1e16
	if abs := math.Abs(x); abs != 0 && (abs < least || abs >= most) {
		return strconv.FormatFloat(x, 'e', -1, 64), nil
	}
	text := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text, nil
}
