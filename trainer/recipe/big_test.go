package recipe

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The TOML library's time grows with the cube of the nesting: what Parse lets
// through to it must stay cheap.
func TestHostileShapesAreQuick(t *testing.T) {
	fill := func(part string) string { return strings.Repeat(part, (maxFileBytes-200)/len(part)) }
	for name, text := range map[string]string{
		"brackets":         "a = " + fill("["),
		"braces":           "a = " + fill("{a="),
		"dotted key":       fill("a.") + "a = 1",
		"dotted header":    "[" + fill("a.") + "a]",
		"dotted in braces": "a = {" + fill("a.") + "a = 1}",
		"long list":        "a = [" + fill("1,") + "1]",
		"list of tables":   fill("[[a]]\n"),
		"wide table":       "[dflash.dflash_export_rope_scaling]\n" + fill("a"),
		"quotes":           "a = " + fill(`"`),
		"comment":          fill("#"),
		"blank":            fill("\n"),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, _, err := Parse("r.toml", []byte(text), nil)
			require.Error(t, err)
			requireUsage(t, err, err.Error())
			require.Less(t, len(err.Error()), 400)
			require.Less(t, time.Since(start), 3*time.Second)
		})
	}
}
