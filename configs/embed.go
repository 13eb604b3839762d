// Package configs holds the recipes that come with vkdomino, one per target and
// three for the demo, also inside the binary.
package configs

import (
	"embed"
	"io/fs"
	"slices"

	"vkdomino/internal/fail"
)

//go:embed *.toml
var files embed.FS

// Read gives the recipe of that file name, such as "demo.toml". Another name is
// an error of code fail.Usage.
func Read(name string) ([]byte, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return nil, fail.New(fail.Usage, "the recipes that come with vkdomino are listed in configs/", "configs: %w", err)
	}
	return text, nil
}

// Names lists the recipes, sorted.
func Names() []string {
	names, err := fs.Glob(files, "*.toml")
	if err != nil { // only a malformed pattern can give one
		return nil
	}
	slices.Sort(names)
	return names
}
