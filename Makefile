# make help lists what can be done here. Everything goes through the go command
# with the same flags, so that all targets share one build cache.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

# -trimpath makes Kubernetes compile once for every checkout, and a build or a
# vet without it compiles all of it again. CGO_ENABLED is fixed for the same
# reason: its default depends on whether a C compiler happens to be installed.
# Only the race detector needs cgo, and only in our own tests.
export GOFLAGS := -trimpath -buildvcs=false
export CGO_ENABLED := 0

# sudo forgets where the official Go installation puts the go command.
export PATH := $(PATH):/usr/local/go/bin

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN := $(CURDIR)/bin
LINT := $(BIN)/golangci-lint

# make up ARGS="--data-dir /var/lib/weir"
ARGS ?=
# 1: do not ask before system packages are installed.
YES ?=
export YES
# make test RUN=TestName
RUN ?=
# make bench BENCH=proxy
BENCH ?=

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: ## Run everything: PostgreSQL, a Kubernetes node, Weir, the example shop (ARGS=… for weir up)
	@tools/dev/deps.sh up
	@$(MAKE) build
	@tools/dev/up.sh $(ARGS)

.PHONY: test
test: ## Run every check and every test, and say where the time went
	@tools/dev/deps.sh test
	@tools/dev/test.sh

.PHONY: race
race: ## Run the unit and integration tests under the race detector (RUN=TestName)
	@tools/dev/deps.sh test
	@tools/dev/test.sh unit kube shop

.PHONY: e2e
e2e: ## Run the end-to-end tests against real pods
	@tools/dev/deps.sh test
	@tools/dev/test.sh e2e

.PHONY: bench
bench: build-weir build-devcluster ## Run the benchmarks beside their peers, 12 minutes; one: BENCH=proxy or ARGS="proxy -rate 8000"
	@tools/dev/deps.sh bench
	@$(MAKE) -C test/bench bench BENCH="$(BENCH)" ARGS="$(ARGS)"

.PHONY: lint
lint: ## Run the formatters' check, go vet and golangci-lint on every module
	@tools/dev/test.sh format vet lint

.PHONY: fmt
fmt: $(LINT) ## Format the Go code
	$(LINT) fmt ./...
	cd examples/shop && $(LINT) fmt --config $(CURDIR)/.golangci.yml ./...
	cd tools/devcluster && $(LINT) fmt --config $(CURDIR)/.golangci.yml ./...

.PHONY: generate
generate: ## Make generated code again
	go generate ./...
	cd examples/shop && go generate ./...

.PHONY: tidy
tidy: ## Run go mod tidy in every module
	@for dir in . examples/shop tools/devcluster test/bench tools/dev; do (cd $$dir && echo "go mod tidy in $$dir" && go mod tidy); done

.PHONY: build
build: build-weir build-shop build-devcluster ## Build everything into bin/

.PHONY: build-weir
build-weir: ## Build bin/weir
	@echo "building bin/weir"
	@go build -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/weir ./cmd/weir

.PHONY: build-shop
build-shop: ## Build the example shop into bin/shop/
	@echo "building bin/shop"
	@mkdir -p $(BIN)/shop
	@cd examples/shop && go build -ldflags '-s -w' -o $(BIN)/shop/ ./cmd/... && \
		go build -ldflags '-s -w' -tags samefunctions -o $(BIN)/shop/pricing-same ./cmd/pricing

.PHONY: build-devcluster
build-devcluster: ## Build bin/devcluster, a whole Kubernetes (minutes the first time, seconds later)
	@echo "building bin/devcluster"
	@$(MAKE) -C tools/devcluster build BIN=$(BIN)

$(LINT): tools/dev/go.mod
	@echo "building bin/golangci-lint (once)"
	@cd tools/dev && go build -ldflags '-s -w' -o $(LINT) tool

.PHONY: clean
clean: ## Remove what was built; data/ stays
	rm -rf bin dist coverage.out
