// Package model holds the networks: the frozen Qwen3 target (forward, with
// feature capture) and the DFlash draft backbone (forward and backward). What
// makes a draft a Domino draft is in package domino.
package model
