// Package evaluate measures what a draft's users get: it decodes prompts with the target, the
// draft and its head, and reports acceptance lengths, target calls and times.
// Source: spec.md §14.2, §14.4.
package evaluate
