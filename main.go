// Command vkdomino trains Domino and DFlash speculative-decoding drafts on any
// Vulkan device. The commands live in internal/cli.
package main

import (
	"os"

	"vkdomino/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
