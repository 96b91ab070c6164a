//go:build !cgo

package main

func confluent() offer {
	return offer{name: "confluent", missing: "needs cgo and a C compiler: build with CGO_ENABLED=1"}
}
