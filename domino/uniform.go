package domino

// purpose keeps the random numbers of one position apart.
type purpose uint64

const (
	purposeToken  purpose = iota + 1 // the target's token at a position
	purposeDraft                     // the draft's, where it must not depend on the target's
	purposeAccept                    // whether the draft's is accepted
)

// uniform returns a number of [0, 1) with 24 bits that depends on its arguments alone, so
// that sampled tokens depend neither on which prompts are decoded together nor on how many
// tokens are drafted. prompt counts prompts, position tokens of prompt and answer.
func uniform(seed uint64, prompt, position int, p purpose) float32 {
	const bits = 24
	return float32(Mix(Mix(Mix(Mix(seed)^uint64(prompt))^uint64(position))^uint64(p))>>(64-bits)) / (1 << bits)
}
