package domino_test

import (
	"fmt"
	"testing"

	"vkdomino/domino"
	"vkdomino/internal/testgpu"
	"vkdomino/tensors"
)

// BenchmarkDecode is the cost of a cycle with the draft and of a token of the target alone.
func BenchmarkDecode(b *testing.B) {
	_, prompts, _ := readGeneration(b)
	for _, slots := range []int{1, 8} {
		d := goldenDecoder(b, testgpu.Context(b), tensors.F32, domino.DecoderConfig{Slots: slots}, nil)
		for _, opt := range []domino.DecodeOptions{{NoDraft: true}, {HeadOff: true}, {}, {Timing: true}} {
			opt.MaxNewTokens = 48
			b.Run(fmt.Sprintf("slots=%d,draft=%v,head=%v,timing=%v", slots, !opt.NoDraft, !opt.HeadOff, opt.Timing), func(b *testing.B) {
				generate(b, d, prompts[:slots], opt)
				var total domino.Stats
				tokens := 0
				for b.Loop() {
					out := generate(b, d, prompts[:slots], opt)
					total.Cycles += out.Stats.Cycles
					total.Decode += out.Stats.Decode
					total.Draft += out.Stats.Draft
					total.Head += out.Stats.Head
					total.Verify += out.Stats.Verify
					for _, g := range out.Generations {
						tokens += len(g.Tokens)
					}
				}
				per := func(seconds float64) float64 { return seconds * 1e6 / float64(total.Cycles) }
				b.ReportMetric(per(total.Decode.Seconds()), "us/cycle")
				b.ReportMetric(total.Decode.Seconds()*1e6/float64(tokens), "us/token")
				if opt.Timing {
					b.ReportMetric(per(total.Draft.Seconds()), "us/draft")
					b.ReportMetric(per(total.Head.Seconds()), "us/head")
					b.ReportMetric(per(total.Verify.Seconds()), "us/verify")
				}
			})
		}
	}
}
