package data

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
)

// EachPrompt calls fn with the first n rows of a file, all if n is -1: the row as it stands
// and its prompt. It returns the digest of the whole file. Refused are texts without roles
// and rows without a turn before the first answer. An error of fn gets file and line. Of opt
// it needs what LoadPrompts needs.
func EachPrompt(ctx context.Context, opt Options, n int, fn func(raw []byte, p Prompt) error) (sum string, err error) {
	return eachRow(ctx, opt, n, func(raw []byte) (Prompt, error) {
		conv, err := ParseConversation(raw)
		switch {
		case err != nil:
		case conv.isText:
			err = errText
		case len(conv.Prompt().roles) == 0:
			err = errors.New("want a turn before the first answer, got none")
		default:
			return opt.PromptIDs(conv)
		}
		return Prompt{}, err
	}, func(line int, raw []byte, p Prompt) error {
		p.Line = line
		return fn(raw, p)
	})
}

// member is a name and a value of a JSON object.
type member struct {
	name  string
	value jsontext.Value
}

// WithAnswer returns a row of messages or conversations, as one line without its end, whose
// turns are those before the first answer and an assistant's with the given content. Other
// keys stay; note becomes the value of key. Of a name that is there twice the last counts.
func WithAnswer(raw []byte, content, key string, note any) ([]byte, error) {
	row, err := members(raw)
	if err != nil {
		return nil, err
	}
	at := -1
	for _, turns := range []string{"conversations", "messages"} { // the second goes before the first
		if i := indexOf(row, turns); i >= 0 {
			at = i
		}
	}
	if at < 0 {
		return nil, fmt.Errorf("want messages or conversations, got neither")
	}
	if row[at].value, err = answered(row[at].value, content); err != nil {
		return nil, fmt.Errorf("%s: %w", row[at].name, err)
	}
	value, err := json.Marshal(note)
	if err != nil {
		return nil, err
	}
	if i := indexOf(row, key); i >= 0 {
		row[i].value = value
	} else {
		row = append(row, member{key, value})
	}
	return joined(row)
}

func indexOf(row []member, name string) int {
	for i, m := range row {
		if m.name == name {
			return i
		}
	}
	return -1
}

// members reads a JSON object in the order of its names.
func members(raw []byte) ([]member, error) {
	var row []member
	d := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true))
	if t, err := d.ReadToken(); err != nil || t.Kind() != jsontext.KindBeginObject {
		return nil, fmt.Errorf("want a JSON object")
	}
	for d.PeekKind() != jsontext.KindEndObject {
		name, err := d.ReadToken()
		if err != nil {
			return nil, jsonError(err)
		}
		text := name.String() // the token dies with the next read
		value, err := d.ReadValue()
		if err != nil {
			return nil, jsonError(err)
		}
		value = value.Clone()
		if i := indexOf(row, text); i >= 0 {
			row[i].value = value
		} else {
			row = append(row, member{text, value})
		}
	}
	return row, nil
}

// joined writes an object on one line.
func joined(row []member) ([]byte, error) {
	var b bytes.Buffer
	for i, m := range row {
		b.WriteByte("{,"[min(i, 1)])
		name, err := jsontext.AppendQuote(nil, m.name)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		if err := m.value.Compact(jsontext.AllowDuplicateNames(true)); err != nil {
			return nil, jsonError(err)
		}
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// answered cuts turns before the first one of the assistant and appends its answer, in the
// spelling of the first turn: role and content, or from and value.
func answered(turns jsontext.Value, content string) (jsontext.Value, error) {
	var list []jsontext.Value
	if err := json.Unmarshal(turns, &list, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, jsonError(err)
	}
	role, name, text := "role", "assistant", "content"
	for i, raw := range list {
		turn, err := members(raw)
		if err != nil {
			return nil, err
		}
		at := indexOf(turn, "role")
		if at < 0 {
			at = indexOf(turn, "from")
		}
		if at < 0 {
			return nil, fmt.Errorf("turn %d: want a role, got none", i)
		}
		var who string
		if err := json.Unmarshal(turn[at].value, &who); err != nil {
			return nil, jsonError(err)
		}
		if roleNames[who] == "assistant" {
			list = list[:i]
			break
		}
		if i == 0 && turn[at].name == "from" {
			role, name = "from", "gpt"
		}
		if i == 0 && indexOf(turn, "content") < 0 {
			text = "value"
		}
	}
	who, err := quoted(role, name)
	if err != nil {
		return nil, err
	}
	what, err := quoted(text, content)
	if err != nil {
		return nil, err
	}
	answer, err := joined([]member{who, what})
	if err != nil {
		return nil, err
	}
	return json.Marshal(append(list, answer))
}

// quoted is a member whose value is a string.
func quoted(name, value string) (member, error) {
	text, err := jsontext.AppendQuote(nil, value)
	return member{name, text}, err
}

// ReadNote reads the value of key in a row that WithAnswer wrote.
func ReadNote(raw []byte, key string, note any) error {
	row, err := members(raw)
	if err != nil {
		return err
	}
	i := indexOf(row, key)
	if i < 0 {
		return fmt.Errorf("want a key %q, got none", key)
	}
	if err := json.Unmarshal(row[i].value, note); err != nil {
		return jsonError(err)
	}
	return nil
}
