package domino

// Metrics are the values that one optimizer step reports. Source: spec.md §7.4.
type Metrics struct {
	Loss                           float64
	FinalLoss, BaseLoss            float64 // Domino
	Accuracy, BaseAccuracy         float64 // of the final stream, of the base stream; plain DFlash has Accuracy alone
	AcceptLen, BaseAcceptLen       float64 // simulated acceptance length, the bonus token counted
	LambdaBase                     float64 // Domino
	FinalCE, BaseCE                float64 // Domino with distillation: the hard-label losses
	CE                             float64 // plain DFlash with distillation
	SupervisedTokens, Blocks, Rows int
	EmptyBatches                   int // micro-batches without a single head row

	options LossOptions
}

// StepMetrics combines the micro-batches of one optimizer step: means of their values, sums
// of their counts; with GlobalNormalization the losses are divided once, by the Den of all
// micro-batches. A micro-batch whose loss does not count (no weight, or the Den guard)
// has values of 0. For each micro-batch
//
//	final_loss = sum(w L_final)/Den,  base_loss likewise,  loss = (1-λ) final_loss + λ base_loss
//	accuracy   = #(argmax = label, m > 0.5) / (sum m + 1e-6)
//	accept_len = sum over labelled blocks of (accepted+1) / (labelled blocks + 1e-6)
//
// Plain DFlash has one stream: loss = sum(w L)/Den. Source: spec.md §7.3 to §7.5.
func StepMetrics(micro []Sums, lambdaBase float64, opt LossOptions) Metrics {
	m := Metrics{options: opt, LambdaBase: lambdaBase}
	weights := make([]float64, len(micro))
	for j, s := range micro {
		weights[j] = s.Weight
		m.addCounts(s)
	}
	// factors carries 1/(Den*micro-batches), so that sums over micro-batches are means.
	factors := Normalize(weights, opt)
	for j, s := range micro {
		if factors[j] == 0 {
			continue
		}
		m.addLosses(s, factors[j])
		m.addRates(s, 1/float64(len(micro)))
	}
	if opt.Domino {
		m.Loss = (1-lambdaBase)*m.FinalLoss + lambdaBase*m.BaseLoss
	}
	return m
}

func (m *Metrics) addCounts(s Sums) {
	m.SupervisedTokens += s.SupervisedTokens
	m.Blocks += s.Blocks
	m.Rows += s.Rows
	if s.Rows == 0 {
		m.EmptyBatches++
	}
}

func (m *Metrics) addLosses(s Sums, factor float64) {
	if !m.options.Domino {
		m.Loss += s.Base.Loss * factor
		m.CE += s.Base.CE * factor
		return
	}
	m.BaseLoss += s.Base.Loss * factor
	m.BaseCE += s.Base.CE * factor
	m.FinalLoss += s.Final.Loss * factor
	m.FinalCE += s.Final.CE * factor
}

// addRates adds a micro-batch's accuracies and acceptance lengths, scaled by share.
func (m *Metrics) addRates(s Sums, share float64) {
	accuracy := func(x StreamSums) float64 { return share * float64(x.Correct) / (s.Mask + denEpsilon) }
	acceptLen := func(x StreamSums) float64 {
		return share * float64(x.Accepted+s.LabelledBlocks) / (float64(s.LabelledBlocks) + denEpsilon)
	}
	if !m.options.Domino {
		m.Accuracy += accuracy(s.Base)
		m.AcceptLen += acceptLen(s.Base)
		return
	}
	m.Accuracy += accuracy(s.Final)
	m.AcceptLen += acceptLen(s.Final)
	m.BaseAccuracy += accuracy(s.Base)
	m.BaseAcceptLen += acceptLen(s.Base)
}

// Value is one named number of a metrics row.
type Value struct {
	Name  string
	Value float64
}

// Values returns the metrics that this kind of draft and objective has, under the names of
// spec.md §7.4 and in a fixed order; counts are not among them.
func (m Metrics) Values() []Value {
	if !m.options.Domino {
		v := []Value{{"loss", m.Loss}, {"accuracy", m.Accuracy}, {"accept_len", m.AcceptLen}}
		if m.options.Distill {
			v = append(v, Value{"ce", m.CE})
		}
		return v
	}
	v := []Value{
		{"loss", m.Loss}, {"final_loss", m.FinalLoss}, {"base_loss", m.BaseLoss},
		{"accuracy", m.Accuracy}, {"base_accuracy", m.BaseAccuracy},
		{"accept_len", m.AcceptLen}, {"base_accept_len", m.BaseAcceptLen},
		{"lambda_base", m.LambdaBase},
	}
	if m.options.Distill {
		v = append(v, Value{"final_ce", m.FinalCE}, Value{"base_ce", m.BaseCE})
	}
	return v
}
