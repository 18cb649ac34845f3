# What a person types. Each target says what it does, and installs what is missing after saying so.

.PHONY: help demo test chaos orders lint bench clean-demo

help: ## Show this
	@echo "Haetae: make <target>"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s%s\n", $$1, $$2 }'

demo: ## See the whole system on this machine: real traffic, a table of what happened, a verified log (ARGS=--once)
	@scripts/need build postgres room
	@echo "make: building (about five minutes the first time, seconds afterwards)"
	@cargo build --locked --bin haetae
	@./target/debug/haetae demo $(ARGS)

test: ## Run every test against real parts: Postgres, TLS, processes
	@scripts/need build postgres python room
	@scripts/test

chaos: ## Kill the gateway, Postgres and both 1,000 times under load, and judge by what the sites saw (about half an hour)
	@scripts/need build postgres
	HAETAE_CHAOS_ROUNDS=$${HAETAE_CHAOS_ROUNDS:-1000} cargo test --locked --test it chaos:: -- --nocapture

orders: ## Enter and end an order 100 times under load on two gateway processes, and print the timeline (about six minutes)
	@scripts/need build postgres
	HAETAE_ORDER_ROUNDS=$${HAETAE_ORDER_ROUNDS:-100} cargo test --locked --test it replicas::orders -- --nocapture

lint: ## Check formatting and lints
	@scripts/need build lint
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: bench bench-rows bench-decision bench-log
bench: ## Measure against nginx and a do-it-yourself gateway, into docs/bench.md (ARGS="--seconds 10")
	@scripts/need build postgres bench
	cargo build --locked --release --bin haetae
	target/bench-venv/bin/python bench/run.py $(ARGS)

bench-rows: ## Measure the gateway against a build of it that only commits plain rows, into docs/bench.md (builds that first)
	@scripts/need build postgres bench
	bench/plain/build
	cargo build --locked --release --bin haetae
	target/bench-venv/bin/python bench/run.py --plain target/bench-plain/haetae --only "plain rows,haetae" --no-streams --seconds 2 --rounds 8 $(ARGS)

bench-decision: ## Measure the decision alone beside casbin alone, cedar-policy and regorus on the same rules
	@scripts/need build
	cargo run --locked --release --manifest-path bench/decision/Cargo.toml -- $(ARGS)

bench-log: ## Measure commits beside plain rows, lanes, log verify and the guard, into docs/bench.md (six to eight minutes)
	@scripts/need build postgres
	cargo run --locked --release --manifest-path bench/log/Cargo.toml -- --into docs/bench.md

clean-demo: ## Remove what the demo wrote
	@if [ -e demo-data/.haetae-demo ]; then rm -rf demo-data; fi
