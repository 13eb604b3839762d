package pyjinja

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ardanlabs/jinja"
)

const (
	maxNesting = 60      // of expressions and of blocks
	maxCode    = 4 << 20 // bytes of rewritten template
)

// expression is a rewritten expression. name is set for a plain variable.
type expression struct {
	code string
	name string
}

// parser rewrites the expressions of one tag. The grammar and its precedences
// are jinja2's.
type parser struct {
	c     *compiler
	toks  []token
	pos   int
	depth int
}

func (p *parser) peek() token { return p.look(0) }

func (p *parser) look(n int) token {
	if p.pos+n < len(p.toks) {
		return p.toks[p.pos+n]
	}
	return token{}
}

func (p *parser) next() token {
	t := p.peek()
	p.pos++
	return t
}

func (p *parser) isOp(ops ...string) bool {
	return p.peek().kind == tokOp && slices.Contains(ops, p.peek().text)
}

func (p *parser) isName(names ...string) bool {
	return p.peek().kind == tokName && slices.Contains(names, p.peek().text)
}

func (p *parser) skipOp(op string) bool {
	ok := p.isOp(op)
	if ok {
		p.pos++
	}
	return ok
}

func (p *parser) skipName(name string) bool {
	ok := p.isName(name)
	if ok {
		p.pos++
	}
	return ok
}

func (p *parser) expectOp(op string) error {
	if !p.skipOp(op) {
		return fmt.Errorf("want %q, got %v", op, p.peek())
	}
	return nil
}

// end is an error unless the tag has been read to its end.
func (p *parser) end() error {
	if p.pos < len(p.toks) {
		return fmt.Errorf("want the end of the tag, got %v", p.peek())
	}
	return nil
}

func (p *parser) name() (string, error) {
	t := p.next()
	if t.kind != tokName {
		return "", fmt.Errorf("want a name, got %v", t)
	}
	return t.text, checkName(t.text)
}

// words are no names of variables here or in the library, though jinja2 takes
// some for one where an operand is due; null is none to the library alone.
var words = []string{
	"and", "or", "not", "in", "is", "if", "else", "elif", "for", "recursive", "null",
	"true", "false", "none", "True", "False", "None", "self", "varargs", "kwargs",
}

func checkName(name string) error {
	if strings.HasPrefix(name, "__") || slices.Contains(words, name) {
		return fmt.Errorf("variable %q is not supported", name)
	}
	return nil
}

// call rewrites to a call of one of this package's functions.
func call(fn string, args ...string) string { return fn + "(" + strings.Join(args, ", ") + ")" }

// whole parses a tag's rest as one expression; a, b makes a tuple.
func (p *parser) whole() (string, error) {
	e, err := p.tuple(func() bool { return p.pos >= len(p.toks) })
	if err != nil {
		return "", err
	}
	return e, p.end()
}

// tuple parses one expression, or several with commas between them.
func (p *parser) tuple(atEnd func() bool) (string, error) {
	var items []string
	isTuple := false
	for !atEnd() {
		e, err := p.expression()
		if err != nil {
			return "", err
		}
		items = append(items, e)
		if !p.skipOp(",") {
			break
		}
		isTuple = true
	}
	if isTuple {
		return call("__tuple", items...), nil
	}
	if len(items) == 0 {
		return "", fmt.Errorf("want an expression, got %v", p.peek())
	}
	return items[0], nil
}

func (p *parser) expression() (string, error) {
	if p.depth++; p.depth > maxNesting {
		return "", fmt.Errorf("want at most %d nested expressions, got more", maxNesting)
	}
	defer func() { p.depth-- }()
	e, err := p.or()
	for err == nil && p.skipName("if") {
		var cond string
		if cond, err = p.or(); err != nil {
			break
		}
		if !p.skipName("else") {
			e = "(" + e + " if " + cond + ")"
			continue
		}
		var other string
		other, err = p.expression()
		e = "(" + e + " if " + cond + " else " + other + ")"
	}
	if len(e) > maxCode {
		return "", fmt.Errorf("want a smaller expression")
	}
	return e, err
}

// binary parses operand (op operand)*, joining from the left.
func (p *parser) binary(operand func() (string, error), match func() (string, bool), join func(op, a, b string) string) (string, error) {
	left, err := operand()
	for err == nil {
		op, ok := match()
		if !ok {
			break
		}
		var right string
		if right, err = operand(); err == nil {
			left = join(op, left, right)
		}
	}
	return left, err
}

func (p *parser) or() (string, error) { return p.logical("or", p.and) }

func (p *parser) and() (string, error) { return p.logical("and", p.not) }

func (p *parser) logical(word string, operand func() (string, error)) (string, error) {
	return p.binary(operand, func() (string, bool) { return word, p.skipName(word) },
		func(op, a, b string) string { return "(" + a + " " + op + " " + b + ")" })
}

func (p *parser) not() (string, error) {
	if !p.skipName("not") {
		return p.compare()
	}
	if p.depth++; p.depth > maxNesting {
		return "", fmt.Errorf("want at most %d nested expressions, got more", maxNesting)
	}
	defer func() { p.depth-- }()
	e, err := p.not()
	return "(not " + e + ")", err
}

// compare parses a chain: a < b < c is a < b and b < c.
func (p *parser) compare() (string, error) {
	left, err := p.sum()
	if err != nil {
		return "", err
	}
	var parts []string
	for {
		op, ok := p.compareOp()
		if !ok {
			break
		}
		right, err := p.sum()
		if err != nil {
			return "", err
		}
		parts = append(parts, compareCode(p.c, op, left, right))
		left = right
	}
	switch len(parts) {
	case 0:
		return left, nil
	case 1:
		return parts[0], nil
	}
	return "(" + strings.Join(parts, " and ") + ")", nil
}

func compareCode(c *compiler, op, left, right string) string {
	switch op {
	case "in":
		return call("__in", left, right)
	case "not in":
		return "(not " + call("__in", left, right) + ")"
	}
	return call("__cmp", c.str(op), left, right)
}

func (p *parser) compareOp() (string, bool) {
	if p.isOp("==", "!=", "<", "<=", ">", ">=") {
		return p.next().text, true
	}
	if p.skipName("in") {
		return "in", true
	}
	if p.isName("not") && p.look(1) == (token{kind: tokName, text: "in"}) {
		p.pos += 2
		return "not in", true
	}
	return "", false
}

func (p *parser) arithmetic(operand func() (string, error), ops ...string) (string, error) {
	return p.binary(operand,
		func() (string, bool) {
			if !p.isOp(ops...) {
				return "", false
			}
			return p.next().text, true
		},
		func(op, a, b string) string { return call("__op", p.c.str(op), a, b) })
}

func (p *parser) sum() (string, error) { return p.arithmetic(p.concat, "+", "-") }

func (p *parser) concat() (string, error) {
	first, err := p.product()
	if err != nil || !p.isOp("~") {
		return first, err
	}
	args := []string{first}
	for p.skipOp("~") {
		e, err := p.product()
		if err != nil {
			return "", err
		}
		args = append(args, e)
	}
	return call("__cat", args...), nil
}

func (p *parser) product() (string, error) { return p.arithmetic(p.power, "*", "/", "//", "%") }

func (p *parser) power() (string, error) {
	return p.arithmetic(func() (string, error) { return p.unary(true) }, "**")
}

func (p *parser) unary(withFilter bool) (string, error) {
	var e expression
	var err error
	if p.isOp("-", "+") {
		op := p.next().text
		if p.depth++; p.depth > maxNesting {
			return "", fmt.Errorf("want at most %d nested expressions, got more", maxNesting)
		}
		defer func() { p.depth-- }()
		var inner string
		inner, err = p.unary(false)
		e.code = call("__neg", p.c.str(op), inner)
	} else {
		e, err = p.primary()
	}
	if err != nil {
		return "", err
	}
	code, err := p.postfix(e)
	if err != nil || !withFilter {
		return code, err
	}
	return p.filters(code)
}

func (p *parser) primary() (expression, error) {
	t := p.next()
	switch t.kind {
	case tokName:
		return p.nameExpr(t.text)
	case tokString:
		s := t.text
		for p.peek().kind == tokString {
			s += p.next().text
		}
		return expression{code: p.c.str(s)}, nil
	case tokInt:
		return expression{code: p.c.constant(jinja.NewInt(t.num))}, nil
	case tokFloat:
		return expression{code: p.c.constant(jinja.NewFloat(t.real))}, nil
	case tokOp:
		var code string
		var err error
		switch t.text {
		case "(":
			code, err = p.parens()
		case "[":
			code, err = p.list()
		case "{":
			code, err = p.dict()
		default:
			err = fmt.Errorf("want an expression, got %v", t)
		}
		return expression{code: code}, err
	}
	return expression{}, fmt.Errorf("want an expression, got %v", t)
}

func (p *parser) nameExpr(name string) (expression, error) {
	switch name {
	case "true", "True":
		return expression{code: p.c.constant(jinja.NewBool(true))}, nil
	case "false", "False":
		return expression{code: p.c.constant(jinja.NewBool(false))}, nil
	case "none", "None":
		return expression{code: p.c.constant(jinja.None())}, nil
	case "loop":
		return p.loopExpr()
	}
	if err := checkName(name); err != nil {
		return expression{}, err
	}
	if p.c.namespaces[name] && !p.isOp(".", "[") {
		return expression{}, fmt.Errorf("namespace %q: only its attributes are supported", name)
	}
	return expression{code: name, name: name}, nil
}

var loopAttributes = []string{
	"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem", "cycle",
}

func (p *parser) loopExpr() (expression, error) {
	attr := p.look(1)
	if !p.isOp(".") || attr.kind != tokName || !slices.Contains(loopAttributes, attr.text) {
		return expression{}, fmt.Errorf("loop: only its attributes %s are supported", strings.Join(loopAttributes, ", "))
	}
	return expression{code: "loop"}, nil
}

func (p *parser) parens() (string, error) {
	if p.skipOp(")") {
		return call("__tuple"), nil
	}
	e, err := p.tuple(func() bool { return p.isOp(")") })
	if err != nil {
		return "", err
	}
	return e, p.expectOp(")")
}

// items parses a comma list up to end, one item by each call of item.
func (p *parser) items(end string, item func() error) error {
	for first := true; !p.isOp(end); first = false {
		if !first {
			if err := p.expectOp(","); err != nil {
				return err
			}
			if p.isOp(end) {
				break
			}
		}
		if err := item(); err != nil {
			return err
		}
	}
	return p.expectOp(end)
}

func (p *parser) list() (string, error) {
	var args []string
	err := p.items("]", func() error {
		e, err := p.expression()
		args = append(args, e)
		return err
	})
	return "[" + strings.Join(args, ", ") + "]", err
}

func (p *parser) dict() (string, error) {
	var args []string
	err := p.items("}", func() error {
		key, err := p.expression()
		if err != nil {
			return err
		}
		if err := p.expectOp(":"); err != nil {
			return err
		}
		value, err := p.expression()
		args = append(args, key, value)
		return err
	})
	return call("__dict", args...), err
}
