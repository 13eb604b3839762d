// Package plural counts things in messages: 1 step, 2 steps.
package plural

import "fmt"

// Of is n and the noun, with an s unless n is 1.
func Of(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
