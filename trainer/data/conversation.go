package data

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"

	"vkdomino/trainer/data/pyjinja"
)

// Conversation is one row of a JSONL file: turns with roles, or a text without.
type Conversation struct {
	vars     map[string]jinja.Value // every key; messages in the form of messages
	messages []jinja.Value
	roles    []string
	text     string
	isText   bool
}

// roleNames maps what a row may call a role to the role.
var roleNames = map[string]string{
	"system": "system", "user": "user", "assistant": "assistant", "tool": "tool",
	"human": "user", "gpt": "assistant",
}

// ParseConversation reads a row: messages with role and content, conversations
// with those or with from and value, or text. Every other key is kept as a
// variable of the template. Source: spec.md §11.1.
func ParseConversation(raw []byte) (Conversation, error) {
	if !utf8.Valid(raw) {
		return Conversation{}, fmt.Errorf("want UTF-8, got an invalid byte at column %d", invalidAt(string(raw))+1)
	}
	v, err := pyjinja.DecodeJSON(raw)
	if err != nil {
		return Conversation{}, fmt.Errorf("want a JSON object: %s", shorten(err.Error()))
	}
	if !v.IsDict() {
		return Conversation{}, fmt.Errorf("want a JSON object, got %s", jsonType(v))
	}
	row := v.AsDict()
	c := Conversation{vars: row.Data}
	for _, key := range []string{"messages", "conversations"} {
		if turns, ok := row.Get(key); ok {
			return c, c.readTurns(key, turns)
		}
	}
	text, ok := row.Get("text")
	if !ok {
		return c, fmt.Errorf("want messages, conversations or text, got %s", keyList(row.OrderedKeys()))
	}
	if !text.IsString() {
		return c, fmt.Errorf("text: want a string, got %s", jsonType(text))
	}
	c.text, c.isText = text.AsString(), true
	return c, nil
}

func keyList(keys []string) string {
	if len(keys) == 0 {
		return "no key"
	}
	return "only " + shorten(strings.Join(keys, ", "))
}

// jsonType names a value's JSON type with its article.
func jsonType(v jinja.Value) string {
	switch {
	case v.IsNone():
		return "null"
	case v.IsBool():
		return "a boolean"
	case v.IsString():
		return "a string"
	case v.IsList():
		return "a list"
	case v.IsDict():
		return "an object"
	}
	return "a number"
}

func (c *Conversation) readTurns(key string, turns jinja.Value) error {
	if !turns.IsList() {
		return fmt.Errorf("%s: want a list, got %s", key, jsonType(turns))
	}
	for i, v := range turns.AsList().Items {
		if !v.IsDict() {
			return fmt.Errorf("%s[%d]: want an object, got %s", key, i, jsonType(v))
		}
		turn, role, err := readTurn(v.AsDict(), key == "conversations")
		if err != nil {
			return fmt.Errorf("%s[%d]%w", key, i, err)
		}
		c.messages = append(c.messages, turn)
		c.roles = append(c.roles, role)
	}
	delete(c.vars, key)
	c.vars["messages"] = jinja.NewList(c.messages)
	return nil
}

// readTurn checks a turn and returns it with the keys role and content; its
// errors start with the key that is wrong. Only conversations may say from,
// value, human and gpt.
func readTurn(turn *jinja.Dict, aliases bool) (v jinja.Value, role string, err error) {
	roleKey, contentKey := "role", "content"
	if aliases && !turn.Has(roleKey) && turn.Has("from") {
		roleKey = "from"
	}
	if aliases && !turn.Has(contentKey) && turn.Has("value") {
		contentKey = "value"
	}
	name, ok := turn.Get(roleKey)
	if !ok {
		return v, "", fmt.Errorf(": want a role, got none")
	}
	if !name.IsString() {
		return v, "", fmt.Errorf(".%s: want a string, got %s", roleKey, jsonType(name))
	}
	role = roleNames[name.AsString()]
	if role == "" || !aliases && role != name.AsString() {
		return v, "", fmt.Errorf(".%s: want system, user, assistant or tool, got %q", roleKey, shorten(name.AsString()))
	}
	content, ok := turn.Get(contentKey)
	if !ok {
		return v, "", fmt.Errorf(": want content, got none")
	}
	if !content.IsString() && !content.IsNone() {
		return v, "", fmt.Errorf(".%s: want a string or null, got %s", contentKey, jsonType(content))
	}
	v = jinja.NewDict()
	for _, key := range turn.Keys {
		switch key {
		case roleKey:
			v.AsDict().Set("role", jinja.NewString(role))
		case contentKey:
			v.AsDict().Set("content", content)
		default:
			v.AsDict().Set(key, turn.Data[key])
		}
	}
	return v, role, nil
}

// HasAssistant reports whether some turn is the assistant's.
func (c Conversation) HasAssistant() bool { return slices.Contains(c.roles, "assistant") }

// nothingToLearn says that a row of turns has none of the assistant.
func (c Conversation) nothingToLearn() bool { return !c.isText && !c.HasAssistant() }

// Prompt returns the turns before the first one of the assistant.
func (c Conversation) Prompt() Conversation {
	n := slices.Index(c.roles, "assistant")
	if n < 0 {
		n = len(c.roles)
	}
	p := Conversation{vars: map[string]jinja.Value{}, messages: c.messages[:n:n], roles: c.roles[:n:n]}
	for k, v := range c.vars {
		p.vars[k] = v
	}
	p.vars["messages"] = jinja.NewList(p.messages)
	return p
}
