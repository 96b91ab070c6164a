# The commands of everyday work; CI runs the same ones. Everything they download or build lies in .tmp.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .tmp/bin
FUZZTIME ?= 30s
BENCH ?= .
COUNT ?= 10
SOAK ?=
BENCH_ARGS ?=
.PHONY: all test itest soak soak-consume soak-outbox smoke lint workflow fmt tidy generate fuzz bench bench-peers vuln api kafka kafka-stop run tools help

all: fmt lint test ## fmt, lint, test: what has to pass before a change is sent

test: ## every test of every module; what needs a real broker says so and skips without one
	go test -race -shuffle=on work

itest: ## the same with a real Kafka, PostgreSQL and Redis, started for it and stopped afterwards
	.ci/with-services go test -race -shuffle=on work

soak: ## 5 minutes of broken networks and killed brokers, with a real Kafka of its own; SOAK=-h lists what can be set
	go run ./internal/itest/soak $(SOAK)

soak-consume: ## 5 minutes of members that join, leave, are killed and frozen, in a group with Java and franz-go; SOAK=-h lists what can be set
	go run ./internal/itest/soakconsume $(SOAK)

soak-outbox: ## 5 minutes of services, relays and consumers that die, freeze and lose their database and broker; SOAK=-h lists what can be set
	.ci/with-services go run ./internal/itest/soakoutbox $(SOAK)

smoke: ## builds the customservice, runs it and uses it over HTTP as a client would
	.ci/smoke

lint: ## formatting, go vet, staticcheck and golangci-lint over all modules, shell scripts' syntax
	.ci/lint

workflow: ## checks the GitHub workflow with actionlint
	.ci/tools actionlint
	$(BIN)/actionlint -no-color

fmt: ## formats everything (gofumpt, imports in three groups)
	.ci/fmt

tidy: ## fails when a go.mod or go.sum is not what go mod tidy makes of it
	.ci/tidy

generate: ## runs go generate and fails when that changes a file
	.ci/generate

fuzz: ## every fuzz target for FUZZTIME (30s)
	.ci/fuzz $(FUZZTIME)

bench: ## the benchmarks, COUNT (10) times; compare two outputs with .tmp/bin/benchstat old new
	.ci/tools benchstat
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count=$(COUNT) work

bench-peers: ## the publisher against other Kafka clients on a real Kafka; BENCH_ARGS='-h' lists what can be chosen
	.ci/bench-peers $(BENCH_ARGS)

vuln: ## known vulnerabilities in what the modules call; says so and skips when the database is out of reach
	.ci/vuln

api: ## incompatible changes of the public API since the last release
	.ci/api

kafka: ## starts a real Kafka with its data in .tmp/kafka and prints its addresses (make kafka-stop ends it)
	.ci/kafka start

kafka-stop: ## stops what make kafka started
	.ci/kafka stop

run: ## the customservice on an embedded Kafka and database: http://127.0.0.1:8080
	go run ./examples/customservice

tools: ## builds the pinned tools into .tmp/bin
	.ci/tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
