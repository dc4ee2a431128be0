# belljar: every target sets up what it needs, and says what it installs before it does. `make help` lists them.

SHELL := /bin/bash
STAGES ?=
FUZZTIME ?= 20s
BENCH ?= .

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench bench-check bench-peers fuzz cover clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  STAGES="lint root"  only these stages of the tests: lint cross root race nocgo user vm systemd bench'
	@echo '  BENCH=Warm          only benchmarks with such names;  FUZZTIME=1m  longer for each fuzz target'

demo: ## a program in a sandbox, then an online judge on its problems (root, or sudo)
	@.ci/demo

test: ## everything that is checked, on this machine and in a virtual one (root, or sudo; some minutes)
	@.ci/test $(STAGES)

lint: ## gofumpt, go vet, staticcheck, tidy modules
	@.ci/setup lint
	@.ci/lint

bench: ## every benchmark, then what a sandbox costs beside other sandboxes (as root), with plots
	@.ci/setup demo
	go test -run='^$$' -bench='$(BENCH)' -benchmem ./...
	cd examples/bench && go run . -out ../../.ci/out/bench

bench-check: ## what a sandbox costs against examples/bench/baseline.json, with a wide tolerance
	@.ci/setup demo
	cd examples/bench && go run . -only latency,jobs -peers none -out ../../.ci/out/bench -check baseline.json

bench-peers: ## other sandboxes for `make bench` to compare with, from packages
	@.ci/setup peers

fuzz: ## every fuzz target, FUZZTIME each
	@.ci/setup demo
	@.ci/fuzz $(FUZZTIME)

cover: ## coverage of the library by its own tests, as a total and as a page
	@.ci/setup demo
	@mkdir -p .ci/out
	go test -count=1 -p=1 -coverpkg=./... -coverprofile=.ci/out/coverage ./...
	@go tool cover -html=.ci/out/coverage -o .ci/out/coverage.html
	@go tool cover -func=.ci/out/coverage | tail -n 1
	@echo "page: .ci/out/coverage.html"

clean: ## remove what the other targets made in the tree
	rm -rf .ci/out
