package data

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// jsonError puts an error of encoding/json into our words: where, what is
// wanted and what was found.
func jsonError(err error) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fmt.Errorf("invalid JSON at byte %d%s: %s", syntax.ByteOffset, under(syntax.JSONPointer), shorten(syntax.Err.Error()))
	}
	var meaning *json.SemanticError
	if !errors.As(err, &meaning) {
		return fmt.Errorf("%s", shorten(err.Error()))
	}
	at := under(meaning.JSONPointer)
	switch {
	case errors.Is(err, json.ErrUnknownName):
		return fmt.Errorf("unknown member%s", at)
	case meaning.GoType != nil && meaning.JSONKind != 0:
		return fmt.Errorf("want %s, got %s%s", goKind(meaning.GoType), jsonKind(meaning.JSONKind), at)
	}
	return fmt.Errorf("wrong value%s", at)
}

// under turns a JSON pointer into a path, "" for the whole value.
func under(p jsontext.Pointer) string {
	var parts []string
	for token := range p.Tokens() {
		parts = append(parts, token)
	}
	if len(parts) == 0 {
		return ""
	}
	return " at " + shorten(strings.Join(parts, "."))
}

func goKind(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Float64:
		return "a number"
	}
	return "an integer"
}

func jsonKind(k jsontext.Kind) string {
	switch k {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindBeginArray:
		return "a list"
	case jsontext.KindBeginObject:
		return "an object"
	}
	return "another number"
}
