// Package pyjinja renders chat templates with the exact text that Python's
// jinja2 gives them, as transformers sets it up: sandboxed, trim_blocks,
// lstrip_blocks, loop controls, json.dumps behind tojson, and
// {% generation %} blocks whose ranges are recorded.
//
// ardanlabs/jinja runs the template: blocks, loops, macros, scopes. But its
// values are not Python's (null prints as nothing, 2.0 as 2, split ignores its
// limit, a variable set in a loop survives the iteration, and more of the
// kind), and a wrong text would be trained on in silence. So a template is
// first rewritten: text and constants become variables, and every operator,
// attribute, method, filter, test and printed value becomes a call of a
// function of this package, which computes what Python computes. What is not
// known here is refused when the template is compiled.
package pyjinja
