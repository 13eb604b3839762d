# vkdomino: `make demo` trains a small draft from nothing; `make test` checks all of it.
# Both install what the system lacks (as root) or say which command does (tools/setup/setup.sh).

export GOTOOLCHAIN := go1.27.4
GO       ?= go
SETUP    := tools/setup/setup.sh
FUZZTIME ?= 10m
TIMEOUT  := 20m

.DEFAULT_GOAL := help
.PHONY: help setup build test race nightly demo shaders clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup: ## what the system needs for build and demo
	@$(SETUP) run

build: setup ## the binary ./vkdomino
	@echo "== build"
	@$(GO) build -o vkdomino .

demo: build ## train a draft on the tiny target in testdata/demo, into runs/
	@./vkdomino demo

# With vectors of 512 bits, which commands ask for on such CPUs from Mesa 25 on, lavapipe compiles the odd shapes of tests for minutes.
test nightly: export LP_NATIVE_VECTOR_WIDTH ?= $(if $(shell grep -m1 avx512vl /proc/cpuinfo 2>/dev/null),256)

test: ## vet, gofmt, shaders, and every test on this machine's Vulkan device
	@$(SETUP) test
	@echo "== vet"
	@$(GO) vet ./...
	@echo "== gofmt"
	@files=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) && { test -z "$$files" || { echo "gofmt: not formatted:"; echo "$$files"; exit 1; }; }
	@echo "== shaders"
	@$(GO) run ./tools/glslc -check
	@echo "== test"
	@$(GO) run ./tools/testreport $(GO) test -json -count=1 -timeout $(TIMEOUT) ./...
	@echo "== test the kernels of GPUs without matrices (tier T1), here on this device"
	@VKDOMINO_TIER=1 $(GO) run ./tools/testreport $(GO) test -json -count=1 -timeout $(TIMEOUT) ./ops

# The race detector needs no device: it runs where vk, and with it cgo, is not linked in.
race: ## go test -race on the packages without Vulkan
	@$(SETUP) run
	@$(GO) test -race -timeout $(TIMEOUT) $$($(GO) list -f '{{$$gpu := false}}{{range .Deps}}{{if eq . "vkdomino/vk"}}{{$$gpu = true}}{{end}}{{end}}{{if not (or $$gpu (eq .ImportPath "vkdomino/vk"))}}{{.ImportPath}}{{end}}' ./...)

nightly: export VKDOMINO_NIGHTLY := 1
nightly: export VKDOMINO_DEVICE_CYCLES := 200
nightly: TIMEOUT := 90m
nightly: test race ## test and race in their long forms, selftest in T1, then each fuzz target for FUZZTIME (10m)
	@VKDOMINO_TIER=1 $(GO) run ./tools/testreport $(GO) test -json -count=1 -timeout $(TIMEOUT) ./internal/selftest
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "== fuzz $$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

shaders: ## compile shaders/*.comp to the committed SPIR-V (NEWER="words before glslc" for those on matrices)
	@$(GO) run ./tools/glslc -newer "$(NEWER)"

clean: ## remove the binary; runs/ stays
	@rm -f vkdomino
