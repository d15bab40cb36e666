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
# 0: build with the console's page as it was built last, or without one.
CONSOLE ?= 1
export CONSOLE
# Where make console-dev finds the APIs.
WEIR_SERVER ?= http://127.0.0.1:9000

WEB := governance/console/web
APP := governance/console/assets/app
# What the page is made from, and what its types are made from.
WEB_FILES := $(shell find $(WEB) \( -name node_modules -o -name .gen -o -name dist -o -name e2e \) -prune -o -type f ! -name '*.test.ts*' ! -name playwright.config.ts -print 2>/dev/null)
API_FILES := go.mod $(shell find cmd/weir/internal/role gateway governance internal registry tracing -name node_modules -prune -o -name '*.go' ! -name '*_test.go' -print)

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: ## Run everything: PostgreSQL, a Kubernetes node, Weir, the example shop (ARGS=… for weir up)
	@tools/dev/deps.sh up
	@$(MAKE) up-built
	@tools/dev/up.sh $(ARGS)

.PHONY: up-java
up-java: ## The same, with services in Java in the shop
	@tools/dev/deps.sh up
	@tools/dev/deps.sh java
	@$(MAKE) up-built
	@tools/dev/java.sh dubbo-3.3 spring-hystrix
	@tools/dev/up.sh --shop true \
		--shop-dir examples/shop/deploy,examples/java/dubbo/deploy,examples/java/spring-hystrix/deploy \
		--shop-bin bin/shop,bin/java/dubbo-3.3,bin/java/spring-hystrix $(ARGS)

.PHONY: up-built
up-built:
	@if [[ $(CONSOLE) == 0 ]] || $(MAKE) console-packages; then $(MAKE) build; else \
		echo "The console's packages cannot be had (see above), so its page stays as it was built last, or is left out; make console builds it later"; \
		$(MAKE) build CONSOLE=0; fi

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

.PHONY: test-java
test-java: ## Run the tests that Java applications judge, against real pods (RUN=TestName)
	@tools/dev/deps.sh java
	@tools/dev/test.sh java

.PHONY: test-java-smoke
test-java-smoke: ## Run those of them that are among make test: Dubbo 3.3 both ways, Hystrix's metrics and switch
	@tools/dev/deps.sh java
	@CONSOLE=0 tools/dev/test.sh smoke

.PHONY: faults
faults: ## Run the tests of faults that take their time, a quarter of an hour (WEIR_FAULTS_OUTAGE=1m: shorter)
	@tools/dev/deps.sh test
	@$(MAKE) build-devcluster
	go test -tags faults -timeout 30m -count=1 -v $(if $(RUN),-run $(RUN)) ./test/faults

.PHONY: screenshots
screenshots: ## Take pictures of every view of the console into dist/screenshots (STATES="empty shop fleet gone", SCENES=trace, WAYS=en-dark-390; WEIR_SERVER and WEIR_TOKEN: of a running weir up)
	@tools/dev/deps.sh screenshots
	@tools/dev/screenshots.sh

.PHONY: bench
bench: ## Run the benchmarks beside their peers, 12 minutes; one: BENCH=proxy or ARGS="proxy -rate 8000"
	@tools/dev/deps.sh bench
	@$(MAKE) build-weir build-devcluster
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
generate: ## Make generated code and reference documents again
	@tools/dev/deps.sh generate
	go generate ./...
	cd examples/shop && go generate ./...

.PHONY: tidy
tidy: ## Run go mod tidy in every module
	@for dir in . examples/shop tools/devcluster test/bench tools/dev; do (cd $$dir && echo "go mod tidy in $$dir" && go mod tidy); done

.PHONY: build
build: build-weir build-shop build-devcluster ## Build everything into bin/

.PHONY: build-weir
build-weir: $(if $(filter 0,$(CONSOLE)),,console) ## Build bin/weir, with the console's page (CONSOLE=0: as it was built last, if it was)
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

# The projects of examples/java to build and to test: JAVA="dubbo-3.3 spring-hystrix"
JAVA ?=
.PHONY: build-java
build-java: build-devcluster ## Build the examples in Java into images, bin/java/*.tar (minutes the first time; JAVA="dubbo-3.3 spring-hystrix": only these)
	@tools/dev/deps.sh java
	@tools/dev/java.sh $(JAVA)

.PHONY: console
console: $(BIN)/console/built ## Build the console's page into governance/console/assets/app

.PHONY: console-dev
console-dev: console-types ## Serve the console's page as it is being written, on the APIs of a running weir up (WEIR_SERVER=http://host:port)
	@cd $(WEB) && WEIR_SERVER=$(WEIR_SERVER) npm run dev

.PHONY: console-packages
console-packages: $(WEB)/node_modules/.package-lock.json
	@:

.PHONY: console-types
console-types: $(WEB)/.gen/api.d.ts

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json $(WEB)/package.json
	@command -v npm >/dev/null || { echo "the console needs Node.js 18 or newer and npm: install them (Debian: nodejs, npm), or leave it out with CONSOLE=0" >&2; exit 1; }
	@echo "installing the console's packages"
	@cd $(WEB) && npm ci --prefer-offline --no-audit --no-fund --loglevel=error
	@touch $@

# The document is written anew only where it differs, so that a change elsewhere
# in the Go code does not build the page again. weir builds without the page.
$(BIN)/console/described: $(API_FILES)
	@echo "describing the APIs"
	@mkdir -p $(WEB)/.gen $(@D)
	@go run ./cmd/weir openapi >$(WEB)/.gen/openapi.json.new
	@cmp -s $(WEB)/.gen/openapi.json.new $(WEB)/.gen/openapi.json || cp $(WEB)/.gen/openapi.json.new $(WEB)/.gen/openapi.json
	@rm $(WEB)/.gen/openapi.json.new
	@touch $@

$(WEB)/.gen/openapi.json: $(BIN)/console/described
	@[[ -e $@ ]] || { rm $<; $(MAKE) $<; }

$(WEB)/.gen/api.d.ts: $(WEB)/.gen/openapi.json $(WEB)/node_modules/.package-lock.json
	@cd $(WEB) && npm run --silent gen
	@touch $@

# A stamp rather than the page itself, which is there before its size is checked.
$(BIN)/console/built: $(WEB)/.gen/api.d.ts $(WEB_FILES) $(if $(wildcard $(APP)/index.html),,gone)
	@echo "building the console"
	@cd $(WEB) && npm run --silent build
	@mkdir -p $(@D) && touch $@

.PHONY: gone
gone:

$(LINT): tools/dev/go.mod
	@echo "building bin/golangci-lint (once)"
	@cd tools/dev && go build -ldflags '-s -w' -o $(LINT) tool

.PHONY: clean
clean: ## Remove what was built; data/ and downloaded packages stay
	rm -rf bin dist coverage.out $(APP) $(WEB)/.gen
