package pyjinja

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// compiler rewrites a template for the library. Text and constants go to
// variables, so that no escape or whitespace rule of the library applies.
type compiler struct {
	segments []segment
	pos      int
	depth    int

	consts     map[string]jinja.Value
	byString   map[string]string // string constant -> its variable
	undef      string
	saves      int
	namespaces map[string]bool
	macros     map[string][]string // name -> parameters

	inLoop        bool // break and continue are allowed
	jumps         int  // breaks and continues so far
	inGeneration  bool
	captured      bool // output is a value here, not text: no generation block may start
	hasGeneration bool
}

// block is a rewritten run of segments, the variables that it sets, and the
// tag that ended it.
type block struct {
	code string
	sets []string
	end  *parser
}

func newCompiler(segments []segment) *compiler {
	return &compiler{
		segments: segments, consts: map[string]jinja.Value{}, byString: map[string]string{},
		namespaces: map[string]bool{}, macros: map[string][]string{},
	}
}

func (c *compiler) constant(v jinja.Value) string {
	name := "__k" + strconv.Itoa(len(c.consts))
	c.consts[name] = v
	return name
}

func (c *compiler) str(s string) string {
	name, ok := c.byString[s]
	if !ok {
		name = c.constant(jinja.NewString(s))
		c.byString[s] = name
	}
	return name
}

func (c *compiler) undefined() string {
	if c.undef == "" {
		c.undef = c.constant(jinja.Undefined())
	}
	return c.undef
}

func stmt(parts ...string) string { return "{% " + strings.Join(parts, " ") + " %}" }

// block rewrites segments up to a tag that starts with one of ends, or to the
// end of the template if ends is empty.
func (c *compiler) block(ends ...string) (block, error) {
	var b block
	if c.depth++; c.depth > maxNesting {
		return b, fmt.Errorf("want at most %d nested blocks, got more", maxNesting)
	}
	defer func() { c.depth-- }()
	var code strings.Builder
	for c.pos < len(c.segments) {
		s := c.segments[c.pos]
		c.pos++
		p := &parser{c: c, toks: s.toks}
		if s.kind == stmtSegment && p.isName(ends...) {
			b.code, b.end = code.String(), p
			return b, nil
		}
		part, err := c.segment(s, p)
		if err != nil {
			return b, atLine(s.line, err)
		}
		code.WriteString(part.code)
		b.sets = union(b.sets, part.sets)
		if code.Len() > maxCode {
			return b, fmt.Errorf("want a smaller template")
		}
	}
	if len(ends) > 0 {
		return b, fmt.Errorf("want {%% %s %%}, got the end of the template", strings.Join(ends, " or "))
	}
	b.code = code.String()
	return b, nil
}

type lineError struct{ error }

func (e lineError) Unwrap() error { return e.error }

// atLine names the line, unless an inner block has done so.
func atLine(line int, err error) error {
	if _, ok := err.(lineError); ok {
		return err
	}
	return lineError{fmt.Errorf("line %d: %w", line, err)}
}

func union(a, b []string) []string {
	for _, name := range b {
		if !slices.Contains(a, name) {
			a = append(a, name)
		}
	}
	return a
}

func (c *compiler) segment(s segment, p *parser) (block, error) {
	switch s.kind {
	case textSegment:
		return block{code: "{{ " + c.str(s.text) + " }}"}, nil
	case exprSegment:
		e, err := p.whole()
		return block{code: "{{ " + call("__print", e) + " }}"}, err
	}
	return c.statement(p)
}

func (c *compiler) statement(p *parser) (block, error) {
	t := p.next()
	handlers := map[string]func(*parser) (block, error){
		"if": c.ifStatement, "for": c.forStatement, "set": c.setStatement, "macro": c.macroStatement,
		"call": c.callStatement, "filter": c.filterStatement, "generation": c.generation,
		"break": c.jump("break"), "continue": c.jump("continue"),
	}
	handle, ok := handlers[t.text]
	if t.kind != tokName || !ok {
		return block{}, fmt.Errorf("statement %v is not supported", t)
	}
	return handle(p)
}

func (c *compiler) jump(word string) func(*parser) (block, error) {
	return func(p *parser) (block, error) {
		if !c.inLoop {
			return block{}, fmt.Errorf("%s outside of a loop", word)
		}
		c.jumps++
		return block{code: stmt(word)}, p.end()
	}
}

func (c *compiler) ifStatement(p *parser) (block, error) {
	var out block
	var code strings.Builder
	for word := "if"; ; {
		if word == "else" {
			code.WriteString(stmt("else"))
		} else {
			cond, err := p.or() // not a conditional expression
			if err == nil {
				err = p.end()
			}
			if err != nil {
				return out, err
			}
			code.WriteString(stmt(word, cond))
		}
		ends := []string{"elif", "else", "endif"}
		if word == "else" {
			ends = ends[2:]
		}
		body, err := c.block(ends...)
		if err != nil {
			return out, err
		}
		code.WriteString(body.code)
		out.sets = union(out.sets, body.sets)
		p = body.end
		if word = p.next().text; word != "elif" {
			if err := p.end(); err != nil {
				return out, err
			}
		}
		if word == "endif" {
			out.code = code.String() + stmt("endif")
			return out, nil
		}
	}
}

// scoped saves the variables that a body sets, and puts them back after it: in
// jinja2 the body has a scope of its own, in the library it has not.
func (c *compiler) scoped(sets []string) (before, after string) {
	for _, name := range sets {
		saved := c.fresh()
		before += stmt("set", saved, "=", name)
		after += stmt("set", name, "=", saved)
	}
	return before, after
}

func (c *compiler) fresh() string {
	c.saves++
	return "__v" + strconv.Itoa(c.saves)
}

// forStatement rewrites a loop. A variable set in the body is reset at the
// start of every iteration to what it was before the loop.
func (c *compiler) forStatement(p *parser) (block, error) {
	targets, err := p.targets("in")
	if err != nil {
		return block{}, err
	}
	if len(targets) > 2 {
		return block{}, fmt.Errorf("a loop over more than two variables is not supported")
	}
	iter, err := p.or()
	if err != nil {
		return block{}, err
	}
	header := []string{"for", strings.Join(targets, ", "), "in",
		call("__iter", iter, c.constant(jinja.NewInt(int64(len(targets)))))}
	prelude := ""
	if p.skipName("if") {
		cond, err := p.expression()
		if err != nil {
			return block{}, err
		}
		if len(targets) == 1 {
			header = append(header, "if", cond)
		} else {
			prelude = c.filterPairs(header, targets, cond)
		}
	}
	if err := p.end(); err != nil {
		return block{}, err
	}
	body, otherwise, err := c.loopBodies()
	if err != nil {
		return block{}, err
	}
	sets := slices.DeleteFunc(body.sets, func(s string) bool { return slices.Contains(targets, s) })
	before, reset := c.scoped(sets)
	tick := stmt("set", "__t", "=", call("__tick"))
	return block{code: prelude + before + stmt(header...) + tick + reset + body.code + otherwise + stmt("endfor")}, nil
}

// filterPairs collects the pairs that pass a loop's condition before the loop,
// which the library can do for one variable only, and lets header visit them.
func (c *compiler) filterPairs(header, targets []string, cond string) string {
	kept := c.fresh()
	code := stmt("set", kept, "=", "[]") + stmt(header...) + stmt("if", cond) +
		stmt("set", "__t", "=", call("__push", append([]string{kept}, targets...)...)) + stmt("endif") + stmt("endfor")
	header[len(header)-1] = call("__iter", kept, c.constant(jinja.NewInt(int64(len(targets)))))
	return code
}

// loopBodies reads the body of a loop and its else part.
func (c *compiler) loopBodies() (body block, otherwise string, err error) {
	outer, jumps := c.inLoop, c.jumps
	c.inLoop = true
	body, err = c.block("else", "endfor")
	c.inLoop = outer
	if err != nil {
		return body, "", err
	}
	if body.end.next().text == "endfor" {
		return body, "", body.end.end()
	}
	if c.jumps != jumps { // jinja2 runs else after a loop that no iteration of reached its end
		return body, "", fmt.Errorf("break or continue in a loop with else is not supported")
	}
	if err := body.end.end(); err != nil {
		return body, "", err
	}
	other, err := c.block("endfor")
	if err != nil {
		return body, "", err
	}
	before, after := c.scoped(other.sets)
	other.end.next()
	return body, stmt("else") + before + other.code + after, other.end.end()
}

// targets parses the names that a for or set statement assigns, up to a word
// or an operator, which is consumed.
func (p *parser) targets(until string) ([]string, error) {
	var names []string
	parens := p.skipOp("(")
	for {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		if name == "loop" || slices.Contains(names, name) {
			return nil, fmt.Errorf("variable %q cannot be set here", name)
		}
		names = append(names, name)
		if !p.skipOp(",") {
			break
		}
	}
	if parens {
		if err := p.expectOp(")"); err != nil {
			return nil, err
		}
	}
	if t := p.next(); t.text != until || t.kind != tokName && t.kind != tokOp {
		return nil, fmt.Errorf("want %q, got %v", until, t)
	}
	return names, nil
}

func (c *compiler) setStatement(p *parser) (block, error) {
	if p.look(1) == (token{kind: tokOp, text: "."}) {
		return c.setAttribute(p)
	}
	if len(p.toks) == 2 || len(p.toks) > 2 && p.look(1) == (token{kind: tokOp, text: "|"}) {
		return c.setBlock(p)
	}
	names, err := p.targets("=")
	if err != nil {
		return block{}, err
	}
	if len(names) == 1 && p.isName("namespace") && p.look(1) == (token{kind: tokOp, text: "("}) {
		return c.setNamespace(p, names[0])
	}
	for _, name := range names {
		if c.namespaces[name] {
			return block{}, fmt.Errorf("namespace %q cannot become another value", name)
		}
	}
	value, err := p.whole()
	if err != nil {
		return block{}, err
	}
	if len(names) == 1 {
		return block{code: stmt("set", names[0], "=", value), sets: names}, nil
	}
	whole := c.fresh()
	n := c.constant(jinja.NewInt(int64(len(names))))
	code := stmt("set", whole, "=", call("__unpack", value, n))
	for i, name := range names {
		code += stmt("set", name, "=", call("__item", whole, c.constant(jinja.NewInt(int64(i)))))
	}
	return block{code: code, sets: names}, nil
}

func (c *compiler) setNamespace(p *parser, name string) (block, error) {
	p.pos++
	args, err := p.arguments()
	if err != nil {
		return block{}, err
	}
	for _, a := range args {
		if key, _, ok := strings.Cut(a, "="); !ok || strings.ContainsAny(key, "( ") {
			return block{}, fmt.Errorf("namespace() is supported with named arguments only")
		}
	}
	c.namespaces[name] = true
	return block{code: stmt("set", name, "=", call("namespace", args...)), sets: []string{name}}, p.end()
}

func (c *compiler) setAttribute(p *parser) (block, error) {
	name := p.next().text
	p.pos++
	attr, err := p.name()
	if err != nil {
		return block{}, err
	}
	if !c.namespaces[name] {
		return block{}, fmt.Errorf("set %s.%s: want a namespace, got another variable", name, attr)
	}
	if err := p.expectOp("="); err != nil {
		return block{}, err
	}
	value, err := p.whole()
	return block{code: stmt("set", name+"."+attr, "=", value)}, err
}

// capture reads a body whose output becomes a value.
func (c *compiler) capture(end string) (block, error) {
	loop, captured := c.inLoop, c.captured
	c.inLoop, c.captured = false, true
	defer func() { c.inLoop, c.captured = loop, captured }()
	body, err := c.block(end)
	if err != nil {
		return body, err
	}
	body.end.next()
	return body, body.end.end()
}

func (c *compiler) setBlock(p *parser) (block, error) {
	name, err := p.name()
	if err != nil {
		return block{}, err
	}
	filtered, err := p.filters(name)
	if err != nil {
		return block{}, err
	}
	if err := p.end(); err != nil {
		return block{}, err
	}
	body, err := c.capture("endset")
	if err != nil {
		return block{}, err
	}
	sets := slices.DeleteFunc(body.sets, func(s string) bool { return s == name })
	before, after := c.scoped(sets)
	code := before + stmt("set", name) + body.code + stmt("endset") + after
	if filtered != name {
		code += stmt("set", name, "=", filtered)
	}
	return block{code: code, sets: []string{name}}, nil
}

func (c *compiler) filterStatement(p *parser) (block, error) {
	name := c.fresh()
	p.toks = slices.Insert(slices.Clone(p.toks), p.pos, token{kind: tokOp, text: "|"})
	filtered, err := p.filters(name)
	if err != nil {
		return block{}, err
	}
	if err := p.end(); err != nil {
		return block{}, err
	}
	body, err := c.capture("endfilter")
	if err != nil {
		return block{}, err
	}
	before, after := c.scoped(body.sets)
	return block{code: before + stmt("set", name) + body.code + stmt("endset") + after +
		"{{ " + call("__print", filtered) + " }}"}, nil
}

// macroStatement rewrites a macro. Defaults move into the body, because the
// library splits a parameter list at every comma.
func (c *compiler) macroStatement(p *parser) (block, error) {
	name, err := p.name()
	if err != nil {
		return block{}, err
	}
	if err := p.expectOp("("); err != nil {
		return block{}, err
	}
	var params []string
	var defaults string
	err = p.items(")", func() error {
		param, err := p.name()
		params = append(params, param)
		if err != nil || !p.skipOp("=") {
			return err
		}
		value, err := p.expression()
		defaults += stmt("if", "not", call("__test", c.str("defined"), param)) +
			stmt("set", param, "=", value) + stmt("endif")
		return err
	})
	if err != nil {
		return block{}, err
	}
	if err := p.end(); err != nil {
		return block{}, err
	}
	c.macros[name] = params
	body, err := c.capture("endmacro")
	if err != nil {
		return block{}, err
	}
	enter, leave := stmt("set", "__t", "=", call("__enter")), stmt("set", "__t", "=", call("__leave"))
	code := stmt("macro", call(name, params...)) + enter + defaults + body.code + leave + stmt("endmacro")
	return block{code: code, sets: []string{name}}, nil
}

// checkMacroCall refuses arguments that a known macro does not take: jinja2
// raises an error, the library drops them.
func (c *compiler) checkMacroCall(name string, toks []token, args []string) error {
	params, ok := c.macros[name]
	if !ok {
		return nil
	}
	if len(args) > len(params) {
		return fmt.Errorf("macro %q: want at most %d arguments, got %d", name, len(params), len(args))
	}
	depth := 0
	for i, t := range toks {
		switch {
		case t.kind != tokOp:
		case strings.Contains("([{", t.text):
			depth++
		case strings.Contains(")]}", t.text):
			depth--
		case t.text == "=" && depth == 1 && !slices.Contains(params, toks[i-1].text):
			return fmt.Errorf("macro %q: want one of its parameters, got %q", name, toks[i-1].text)
		}
	}
	return nil
}

func (c *compiler) callStatement(p *parser) (block, error) {
	var params []string
	if p.skipOp("(") {
		err := p.items(")", func() error {
			name, err := p.name()
			params = append(params, name)
			return err
		})
		if err != nil {
			return block{}, err
		}
	}
	name, err := p.name()
	if err != nil {
		return block{}, err
	}
	if _, ok := c.macros[name]; !ok {
		return block{}, fmt.Errorf("call: want a macro, got %q", name)
	}
	args, err := p.arguments()
	if err != nil {
		return block{}, err
	}
	if err := p.end(); err != nil {
		return block{}, err
	}
	body, err := c.capture("endcall")
	if err != nil {
		return block{}, err
	}
	head := call("call", params...) + " " + call(name, args...)
	return block{code: stmt(head) + body.code + stmt("endcall")}, nil
}

// generation marks a block's text with bytes that no valid text has.
func (c *compiler) generation(p *parser) (block, error) {
	if c.inGeneration || c.captured {
		return block{}, fmt.Errorf("a generation block inside of a generation, macro, set, call or filter block is not supported")
	}
	if err := p.end(); err != nil {
		return block{}, err
	}
	loop := c.inLoop
	c.inGeneration, c.inLoop, c.hasGeneration = true, false, true
	body, err := c.block("endgeneration")
	c.inGeneration, c.inLoop = false, loop
	if err != nil {
		return block{}, err
	}
	before, after := c.scoped(body.sets)
	body.end.next()
	open, shut := c.str(string(openMark)), c.str(string(closeMark))
	return block{code: before + "{{ " + open + " }}" + body.code + "{{ " + shut + " }}" + after}, body.end.end()
}
