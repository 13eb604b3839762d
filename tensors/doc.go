// Package tensors has what a tensor is (element type, shape, where it lies) and the files that tensors come from and go
// to; no arithmetic beyond rounding to bfloat16.
//
// On the device: Tensor, a shape over a region of a buffer. On the host: DType and the conversions between float32,
// bfloat16 and half; File, a safetensors file mapped into memory and read behind a guard; Model, a Hugging Face checkpoint
// folder of one such file or many; WriteFile, which writes one.
//
// The safetensors reader trusts nothing that a file says before it has been checked: a broken, cut or hostile file ends
// in one error that names file and tensor, at a cost bounded by the header's 16 MiB.
package tensors
