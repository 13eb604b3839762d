package pair

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vkdomino/internal/fail"
	"vkdomino/model"
)

const generationConfig = "generation_config.json"

// Stops is the tokens that end a target's answer wherever it decodes: the eos_token_id of
// DIR/generation_config.json, which is an id or a list; where it has none, that of config.json.
// An id outside the vocabulary is refused (fail.Usage). Source: spec.md §14.2.
func Stops(dir string, cfg *model.Config) ([]int32, error) {
	ids, path := cfg.EOS.IDs, filepath.Join(dir, generationConfig)
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		own, err := eosIDs(raw)
		if err != nil {
			return nil, fail.New(fail.Other, "repair the target's generation_config.json", "pair: %s: %w", path, err)
		}
		if own != nil {
			ids = own
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fail.New(fail.Other, "make the file readable", "pair: %w", err)
	}
	var stops []int32
	for _, id := range ids {
		if id < 0 || id >= cfg.VocabSize {
			return nil, fail.New(fail.Usage, "correct eos_token_id", "pair: %s: stop token: want a token id from 0 to %d, got %d", path, cfg.VocabSize-1, id)
		}
		stops = append(stops, int32(id))
	}
	return stops, nil
}

// eosIDs returns generation_config.json's eos_token_id; nil where it is absent or null.
func eosIDs(raw []byte) ([]int, error) {
	var file struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	if len(file.EOS) == 0 || string(file.EOS) == "null" {
		return nil, nil
	}
	var one int
	if json.Unmarshal(file.EOS, &one) == nil {
		return []int{one}, nil
	}
	var list []int
	if err := json.Unmarshal(file.EOS, &list); err != nil {
		return nil, fmt.Errorf("eos_token_id: want an id, a list of ids or null, got %s", file.EOS)
	}
	return list, nil
}
