package pyjinja

import (
	"fmt"
	"strings"

	"github.com/ardanlabs/jinja"
)

// postfix parses the attributes, indices and calls after a primary.
func (p *parser) postfix(e expression) (string, error) {
	for {
		var err error
		switch {
		case p.skipOp("."):
			e.code, err = p.attribute(e.code)
		case p.skipOp("["):
			e.code, err = p.subscript(e.code)
		case p.isOp("("):
			e.code, err = p.callExpr(e)
		default:
			return e.code, nil
		}
		if err != nil {
			return "", err
		}
		e.name = ""
	}
}

func (p *parser) attribute(obj string) (string, error) {
	t := p.next()
	switch t.kind {
	case tokInt:
		return call("__item", obj, p.c.constant(jinja.NewInt(t.num))), nil
	case tokName:
		if strings.HasPrefix(t.text, "_") {
			return "", fmt.Errorf("attribute %q is not supported", t.text)
		}
		if !p.isOp("(") {
			return call("__attr", obj, p.c.str(t.text)), nil
		}
		args, err := p.arguments()
		return call("__call", append([]string{obj, p.c.str(t.text)}, args...)...), err
	}
	return "", fmt.Errorf("want a name after the dot, got %v", t)
}

func (p *parser) subscript(obj string) (string, error) {
	parts := []string{p.c.undefined(), p.c.undefined(), p.c.undefined()}
	n := 0
	for ; n < len(parts); n++ {
		if !p.isOp(":", "]", ",") {
			e, err := p.expression()
			if err != nil {
				return "", err
			}
			parts[n] = e
		}
		if !p.skipOp(":") {
			break
		}
	}
	if n == 0 {
		if parts[0] == p.c.undefined() {
			return "", fmt.Errorf("want an index, got %v", p.peek())
		}
		return call("__item", obj, parts[0]), p.expectOp("]")
	}
	return call("__slice", append([]string{obj}, parts...)...), p.expectOp("]")
}

func (p *parser) callExpr(e expression) (string, error) {
	if e.name == "" {
		return "", fmt.Errorf("a call of something else than a name or a method is not supported")
	}
	switch e.name {
	case "dict":
		return p.dictCall()
	case "namespace":
		return "", fmt.Errorf("namespace() is supported only as {%% set name = namespace(…) %%}")
	}
	start := p.pos
	args, err := p.arguments()
	if err != nil {
		return "", err
	}
	return call(e.name, args...), p.c.checkMacroCall(e.name, p.toks[start:p.pos], args)
}

// dictCall keeps the order of dict(a=1, b=2).
func (p *parser) dictCall() (string, error) {
	if err := p.expectOp("("); err != nil {
		return "", err
	}
	var args []string
	err := p.items(")", func() error {
		key, err := p.name()
		if err != nil {
			return fmt.Errorf("dict(): %w", err)
		}
		if err := p.expectOp("="); err != nil {
			return err
		}
		value, err := p.expression()
		args = append(args, p.c.str(key), value)
		return err
	})
	return call("__dict", args...), err
}

// arguments parses (a, b, k=v).
func (p *parser) arguments() ([]string, error) {
	if err := p.expectOp("("); err != nil {
		return nil, err
	}
	var args []string
	named := false
	err := p.items(")", func() error {
		if p.isOp("*", "**") {
			return fmt.Errorf("arguments with %v are not supported", p.peek())
		}
		key := ""
		if p.peek().kind == tokName && p.look(1) == (token{kind: tokOp, text: "="}) {
			key = p.next().text + "="
			p.pos++
			named = true
		} else if named {
			return fmt.Errorf("want a named argument after a named one, got %v", p.peek())
		}
		e, err := p.expression()
		args = append(args, key+e)
		return err
	})
	return args, err
}

// filters parses the | filters, is tests and calls after an operand.
func (p *parser) filters(code string) (string, error) {
	for {
		var err error
		switch {
		case p.skipOp("|"):
			code, err = p.filter(code)
		case p.skipName("is"):
			code, err = p.test(code)
		case p.isOp("("):
			err = fmt.Errorf("a call of a filter's or a test's result is not supported")
		default:
			return code, nil
		}
		if err != nil {
			return "", err
		}
	}
}

func (p *parser) filter(code string) (string, error) {
	t := p.next()
	if t.kind != tokName {
		return "", fmt.Errorf("want a filter's name, got %v", t)
	}
	if _, ok := filterTable[t.text]; !ok {
		return "", fmt.Errorf("filter %q is not supported", t.text)
	}
	var args []string
	if p.isOp("(") {
		var err error
		if args, err = p.arguments(); err != nil {
			return "", err
		}
	}
	return call("__filter", append([]string{p.c.str(t.text), code}, args...)...), nil
}

func (p *parser) test(code string) (string, error) {
	negated := p.skipName("not")
	t := p.next()
	if t.kind != tokName {
		return "", fmt.Errorf("want a test's name, got %v", t)
	}
	if _, ok := testTable[t.text]; !ok {
		return "", fmt.Errorf("test %q is not supported", t.text)
	}
	args, err := p.testArguments()
	if err != nil {
		return "", err
	}
	e := call("__test", append([]string{p.c.str(t.text), code}, args...)...)
	if negated {
		e = "(not " + e + ")"
	}
	return e, nil
}

// testArguments parses (a, b), or one operand without parentheses.
func (p *parser) testArguments() ([]string, error) {
	t := p.peek()
	switch {
	case p.isOp("("):
		return p.arguments()
	case p.isName("is", "if", "not", "in"): // jinja2 takes the word for an argument and fails
		return nil, fmt.Errorf("want parentheses around a test that %v follows", t)
	case t.kind == tokName && !p.isName("else", "or", "and"),
		t.kind == tokString, t.kind == tokInt, t.kind == tokFloat, p.isOp("[", "{"):
		e, err := p.primary()
		if err != nil {
			return nil, err
		}
		code, err := p.postfix(e)
		return []string{code}, err
	}
	return nil, nil
}
