package evaluate

import (
	"context"

	"vkdomino/domino"
)

// Decoder decodes prompts; *domino.Decoder is one.
type Decoder interface {
	Generate(ctx context.Context, prompts [][]int32, opt domino.DecodeOptions, onTokens domino.OnTokens) (*domino.Decoding, error)
}

// Prompt is a prompt's tokens and the line of the data file that it came from.
type Prompt struct {
	Line int
	IDs  []int32
}
